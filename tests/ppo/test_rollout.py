"""Sampling, masks and credit: what makes an answer, and that nothing but its question and its seed decides on it.

sh run_tests.sh tests/ppo/test_rollout.py
"""

import json
from contextlib import nullcontext

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from bedside import stretches
from bedside.ppo import objective, roles, rollout
from bedside.ppo.batches import TaskCollator
from bedside.ppo.scores import Scores, cases_of
from tests.ppo import toys
from tests.ppo.toys import OTHER_STOP, PAD, STOP

DRAWING = rollout.Drawing(6, 1.0, (STOP, OTHER_STOP), PAD)
QUESTIONS = [[9, 4, 33], [12, 50, 7, 8, 21], [40, 41], [9, 4, 33, 5, 6, 11], [60, 3, 17, 18]]


@pytest.fixture(scope="module")
def model(files):
    return toys.assembled(files).eval()


def drawn(model, questions: list[list[int]], seeds: list[int], drawing=DRAWING) -> list[list[int]]:
    """The answers up to their stop token."""
    batch = TaskCollator(PAD)([{"prompt_ids": ids, "index": 0} for ids in questions])
    found = rollout.draw(model, batch["input_ids"], batch["attention_mask"], drawing, seeds)
    answers = rollout.answers_of(batch["input_ids"], batch["attention_mask"], found, drawing.stops)
    return [answers.ids_of(row)[1] for row in range(len(questions))]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_tokens_are_drawn_by_their_probabilities(temperature):
    logits = torch.tensor([1.0, -0.5, 0.3, -torch.inf, 2.0, -1.0, 0.0, 0.9])
    count = 20_000
    numbers = rollout.uniform_numbers([rollout.row_seed(7, 0, row) for row in range(count)], 1)
    chosen = rollout.Chances(numbers, 5, temperature)(torch.zeros(count, 5), logits.expand(count, -1)).argmax(1)
    expected = torch.softmax(logits.double() / temperature, -1) * count
    seen = torch.bincount(chosen, minlength=8)
    assert seen[3] == 0
    possible = expected > 0
    chi_square = ((seen - expected) ** 2 / expected)[possible].sum()
    assert chi_square < 22.46  # six degrees of freedom: more has a chance of 0.1 %


def test_one_token_has_all_the_chance_and_its_place_chooses_the_number():
    numbers = torch.tensor([[0.0, 0.999999], [0.5, 0.2]], dtype=torch.float64)
    scores = torch.tensor([[0.3, 0.2, 0.5]] * 2).log()
    first = rollout.Chances(numbers, 4, 1.0)(torch.zeros(2, 4), scores)
    assert first.argmax(1).tolist() == [0, 2] and first.isfinite().sum(1).tolist() == [1, 1]  # 0.5 is where 2 begins
    assert rollout.Chances(numbers, 4, 1.0)(torch.zeros(2, 5), scores).argmax(1).tolist() == [2, 0]


def test_every_row_of_every_rollout_has_a_seed_of_its_own():
    seeds = [rollout.row_seed(seed, step, row) for seed in range(10) for step in range(100) for row in range(-1, 99)]
    assert len(set(seeds)) == len(seeds) == 100_000 and min(seeds) >= 0 and max(seeds) < 1 << 63
    numbers = rollout.uniform_numbers(seeds[:4000], 2)
    assert abs(numbers.mean() - 0.5) < 0.01 and abs(numbers.var() - 1 / 12) < 0.003
    assert (
        abs(torch.corrcoef(torch.stack([numbers[:-1, 0], numbers[1:, 0], numbers[1:, 1]])) - torch.eye(3)).max() < 0.06
    )


def test_an_answer_depends_on_its_question_and_its_seed_alone(model):
    seeds = [rollout.row_seed(7, 3, row) for row in range(5)]
    whole = drawn(model, QUESTIONS, seeds)
    assert drawn(model, QUESTIONS, seeds) == whole
    parts = [drawn(model, QUESTIONS[at : at + 2], seeds[at : at + 2]) for at in (0, 2, 4)]
    assert [answer for part in parts for answer in part] == whole  # other batches, other padding
    assert drawn(model, QUESTIONS[::-1], seeds[::-1]) == whole[::-1]
    assert [drawn(model, [question], [seed])[0] for question, seed in zip(QUESTIONS, seeds, strict=True)] == whole
    assert drawn(model, QUESTIONS, [rollout.row_seed(7, 4, row) for row in range(5)]) != whole
    same = drawn(model, [QUESTIONS[0]] * 4, seeds[:4])
    assert len({tuple(answer) for answer in same}) == 4  # one question, four answers


def test_sampling_ends_at_any_stop_token(model):
    """Behind it is padding: nothing more is computed for the row."""
    batch = TaskCollator(PAD)([{"prompt_ids": QUESTIONS[1], "index": 0}] * 64)
    stops = (STOP, *range(20, 40))
    found = rollout.draw(model, *(batch[name] for name in ("input_ids", "attention_mask")),
                         rollout.Drawing(6, 1.0, stops, PAD), range(64))  # fmt: skip
    mask, finished = rollout.completion_mask(found, stops)
    assert finished.sum() > 32 and found.shape == (64, 6) and not found[mask == 0].any()


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_answers_that_have_ended_leave_the_batch(model, monkeypatch, temperature):
    """What is drawn is what a batch that keeps every row to the end draws."""
    drawing = rollout.Drawing(12, temperature, (STOP, *range(20, 32)), PAD)
    questions, seeds = QUESTIONS * 8, [rollout.row_seed(7, 3, row) for row in range(40)]
    with monkeypatch.context() as patch:
        patch.setattr(rollout, "plain_cache", lambda model: None)
        whole = drawn(model, questions, seeds, drawing)
    assert len({len(answer) for answer in whole}) > (6 if temperature else 1)
    sizes, forward = [], model.get_base_model().forward
    monkeypatch.setattr(stretches, "STRETCH", 3)
    monkeypatch.setattr(
        model.get_base_model(),
        "forward",
        lambda *args, **kw: sizes.append(len(kw["input_ids"])) or forward(*args, **kw),
    )
    assert drawn(model, questions, seeds, drawing) == whole
    going = [sum(len(answer) >= 3 * part for answer in whole) for part in range(4)]  # a stop may stand at the end
    assert len(sizes) == max(map(len, whole)) and sizes[:3] == [40] * 3 and sizes[-1] < 40
    assert all(size <= bound for size, bound in zip(sizes[::3], going, strict=False))


def test_a_cache_that_forgets_is_left_to_generate():
    """Rows are taken only out of caches that hold every token."""
    config = {"vocab_size": 70, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    assert rollout.plain_cache(MistralForCausalLM(MistralConfig(**config, sliding_window=None))) is not None
    sliding = MistralForCausalLM(MistralConfig(**config, sliding_window=4)).eval()
    assert rollout.plain_cache(sliding) is None
    prompts = torch.tensor([[1, 2, 3]])
    drawing = rollout.Drawing(9, 0.0, (69,), PAD)
    found = rollout.draw(sliding, prompts, torch.ones_like(prompts), drawing, [0])
    again = sliding.generate(prompts, max_new_tokens=9, do_sample=False, eos_token_id=69, pad_token_id=PAD)[:, 3:]
    assert found[:, : again.shape[1]].equal(again)


def test_temperature_0_takes_the_likeliest_token(model):
    greedy = rollout.Drawing(4, 0.0, (STOP,), PAD)
    found = drawn(model, QUESTIONS, [0] * 5, greedy)
    assert found == drawn(model, QUESTIONS, [1] * 5, greedy)
    for question, answer in zip(QUESTIONS, found, strict=True):
        ids = list(question)
        for token in answer:
            with torch.no_grad():
                assert model(torch.tensor([ids])).logits[0, -1].argmax() == token
            ids.append(token)


def test_the_models_own_generation_config_reaches_no_rollout(model, monkeypatch):
    seeds = list(range(5))
    plain = drawn(model, QUESTIONS, seeds)
    own = model.get_base_model().generation_config
    common = max((token for answer in plain for token in answer if token > OTHER_STOP), default=0)
    changed = {"repetition_penalty": 5.0, "eos_token_id": common, "suppress_tokens": [common], "do_sample": True,
               "temperature": 0.1, "top_k": 1, "no_repeat_ngram_size": 1, "max_length": 8}  # fmt: skip
    for name, value in changed.items():
        monkeypatch.setattr(own, name, value)
    assert drawn(model, QUESTIONS, seeds) == plain
    assert model.get_base_model().generation_config is own and own.repetition_penalty == 5.0
    # Without the mechanism it is another distribution than the one whose probabilities are trained.
    monkeypatch.setattr(rollout, "own_generation_config", lambda _: nullcontext())
    assert drawn(model, QUESTIONS, seeds) != plain


def test_positions_count_from_the_first_token_of_a_question(tmp_path):
    """A model whose positions are learnt, so that a wrong one tells."""
    torch.manual_seed(0)
    base = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=2,
                                      bos_token_id=None, eos_token_id=STOP))  # fmt: skip
    base.transformer.wpe.weight.data.normal_(0, 1)
    base.lm_head.weight.data.mul_(8)
    model = roles.assemble(base, None, {"r": 4}, None).eval()
    seeds = [rollout.row_seed(1, 0, row) for row in range(5)]
    alone = [drawn(model, [question], [seed])[0] for question, seed in zip(QUESTIONS, seeds, strict=True)]
    assert drawn(model, QUESTIONS, seeds) == alone
    batch = TaskCollator(PAD)([{"prompt_ids": ids, "index": 0} for ids in QUESTIONS])
    found = torch.full((5, 6), 5)
    answers = rollout.answers_of(batch["input_ids"], batch["attention_mask"], found, (STOP,))
    together = rollout.score(model, answers, [torch.arange(5)], 1.0).micro[0]["logps"]
    single = torch.cat(
        [rollout.score(model, answers, [torch.tensor([row])], 1.0).micro[0]["logps"] for row in range(5)]
    )
    torch.testing.assert_close(together, single, atol=1e-5, rtol=0)
    with torch.no_grad():  # what positions that count the padding make of the shortest question
        ids, mask = torch.cat([batch["input_ids"], found], 1), torch.cat([batch["attention_mask"], found * 0 + 1], 1)
        wrong = torch.log_softmax(model(ids, mask).logits[2, :-1], -1)[-6:, 5]
    assert (wrong - single[2]).abs().max() > 0.1


def test_any_stop_token_ends_an_answer_and_belongs_to_it():
    completions = torch.tensor([[5, 1, 5, 1, 0], [5, 6, 2, 0, 0], [5, 6, 7, 8, 9], [1, 0, 0, 0, 0], [5, 6, 7, 8, 2]])
    mask, finished = rollout.completion_mask(completions, (1, 2))
    assert mask.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert finished.tolist() == [True, True, False, True, True]
    mask, finished = rollout.completion_mask(completions, (1,))
    assert mask.sum(1).tolist() == [2, 5, 5, 1, 5] and finished.tolist() == [True, False, False, True, False]


def test_a_stop_token_that_is_the_pad_token_too_stays_an_action():
    prompts, prompt_mask = torch.tensor([[0, 0, 9], [9, 0, 8]]), torch.tensor([[0, 0, 1], [1, 1, 1]])
    completions = torch.tensor([[5, 6, 0, 0], [5, 0, 0, 0]])
    answers = rollout.answers_of(prompts, prompt_mask, completions, (0,))
    assert answers.lengths.tolist() == [3, 2] and answers.finished.tolist() == [True, True]
    assert [answers.ids_of(row) for row in (0, 1)] == [([9], [5, 6, 0]), ([9, 0, 8], [5, 0])]
    naive = (torch.cat([prompts, completions], 1) != 0).sum(1).tolist()
    assert naive == [3, 3] and answers.part(torch.arange(2))["attention_mask"].sum(1).tolist() == [4, 5]


def test_a_micro_batch_holds_question_and_answer_without_a_gap():
    prompts = torch.tensor([[0, 0, 11, 12], [0, 21, 22, 23], [31, 32, 33, 34]])
    completions = torch.tensor([[5, 1, 0, 0], [6, 7, 8, 1], [9, 9, 9, 9]])
    answers = rollout.answers_of(prompts, (prompts > 0).long(), completions, (STOP,))
    part = answers.part(torch.tensor([1, 0]))
    assert part["input_ids"].tolist() == [[21, 22, 23, 6, 7, 8, 1], [11, 12, 5, 1, 0, 0, 0]]
    assert part["attention_mask"].tolist() == [[1] * 7, [1, 1, 1, 1, 0, 0, 0]]
    assert part["starts"].tolist() == [3, 2] and part["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    part = answers.part(torch.tensor([0]))  # trimmed to its own rows
    assert part["input_ids"].tolist() == [[11, 12, 5, 1]] and part["mask"].tolist() == [[1, 1]]


def test_scores_of_a_rollout_are_those_of_the_plain_model(model):
    prompts = torch.tensor([[0, 11, 12], [21, 22, 23]])
    answers = rollout.answers_of(prompts, (prompts > 0).long(), torch.tensor([[5, 1, 0], [6, 7, 8]]), (STOP,))
    made = rollout.score(model, answers, [torch.tensor([1]), torch.tensor([0])], temperature=0.5)
    wanted = []
    for row in ([21, 22, 23, 6, 7, 8], [11, 12, 5, 1]):
        with torch.no_grad():
            logps = torch.log_softmax(model(torch.tensor([row])).logits[0] / 0.5, -1)
        start = 3 if row[0] == 21 else 2
        wanted.append([logps[place - 1, row[place]].item() for place in range(start, len(row))])
    for batch, row in zip(made.micro, wanted, strict=True):
        torch.testing.assert_close(batch["logps"][0], torch.tensor(row), atol=1e-5, rtol=0)
        assert torch.equal(batch["logps"], batch["ref_logps"])
    assert rollout.of_answers(made, lambda batch: batch["mask"].sum(1)).tolist() == [2, 3]


def test_credit_is_given_to_answers_by_their_rows_and_whitened_over_all():
    def micro(mask, logps, values):
        return {"mask": torch.tensor([mask]), "logps": torch.tensor([logps]), "ref_logps": torch.zeros(1, len(mask)),
                "values": torch.tensor([values])}  # fmt: skip

    made = rollout.Rollout(
        [micro([1, 1], [-0.2, 0.4], [0.5, 0.1]), micro([1], [0.0], [0.25])], [torch.tensor([1]), torch.tensor([0])]
    )
    rollout.credit(made, torch.tensor([2.0, 1.0]), kl_coef=0.5, gamma=1.0, lam=1.0, reduce=objective.alone)
    # Of the second answer: rewards 0.1 and 1 - 0.2; what is to come 0.9 and 0.8; less the values 0.4 and 0.7.
    assert made.micro[0]["returns"].tolist() == [[pytest.approx(0.9), pytest.approx(0.8)]]
    assert made.micro[1]["returns"].tolist() == [[2.0]]
    # 0.4, 0.7 and 1.75: mean 0.95, variance 0.335
    white = [value / 0.335**0.5 for value in (-0.55, -0.25, 0.8)]
    found = torch.cat([batch["advantages"].flatten() for batch in made.micro]).tolist()
    assert found == pytest.approx(white, abs=1e-5)
    # Returns of 0.9, 0.8, 2: mean 1.2333, variance 0.295556
    assert made.measures == {"explained_variance": pytest.approx(1 - 0.335 / 0.295556, abs=1e-5)}


def test_an_answer_that_was_cut_pays_and_one_that_stopped_in_the_last_place_does_not():
    prompts = torch.tensor([[9, 9]] * 3)
    completions = torch.tensor([[5, 6, 1], [5, 6, 7], [5, 1, 0]])
    answers = rollout.answers_of(prompts, torch.ones_like(prompts), completions, (STOP,))
    task = {"prompt": json.dumps([{"role": "user", "content": "?"}]), "gold": "{}", "opened": False}
    cases = cases_of(answers, [task] * 3, toys.words)
    assert [case.ids for case in cases] == [[5, 6], [5, 6, 7], [5]]  # without the stop token
    assert [tuple(case.completion) for case in cases] == [
        ("5 6", True, False, 3), ("5 6 7", False, False, 3), ("5", True, False, 2),
    ]  # fmt: skip
    scores = Scores(None, toys.counting(len), missing_eos_penalty=1.5)
    assert scores(cases).total == [2.0, 1.5, 1.0]
    assert Scores(None, toys.counting(len))(cases).total == [2.0, 3.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_cpu_decodes_float32_weights_as_they_are(dtype):
    """Autocast would cast every weight at every token; where the weights are smaller, it stays as it was."""
    config = GPT2Config(vocab_size=70, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    model, seen = GPT2LMHeadModel(config).to(dtype).eval(), []
    model.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    prompts = torch.tensor([[1, 2, 3]])
    with torch.autocast("cpu", torch.bfloat16):
        rollout.draw(model, prompts, torch.ones_like(prompts), rollout.Drawing(4, 1.0, (69,), PAD), [0])
        assert torch.is_autocast_enabled("cpu")
    assert set(seen) == {dtype == torch.bfloat16}
