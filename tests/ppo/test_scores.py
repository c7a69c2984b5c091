"""What an answer is worth: reward models shared and separate, verifiable rewards, weights, clipping, penalty.

sh run_tests.sh tests/ppo/test_scores.py
"""

import json
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as word_models
from transformers import PreTrainedTokenizerFast

from bedside import models, reward_model, templates
from bedside.data import tokens
from bedside.errors import DataError
from bedside.ppo import roles, sources
from bedside.ppo.scores import Case, Scores, SeparateReward, SharedReward
from bedside.rewards.completion import Completion
from tests.ppo import toys

CHATML = templates.get("qwen3")


def case(text: str, finished: bool = True, prompt=(), ids=(), messages=None, gold=None, opened=False) -> Case:
    asked = messages or [{"role": "user", "content": "Fever for three days?"}]
    task = {"prompt": json.dumps(asked), "gold": json.dumps(gold or {}), "source": "toy.jsonl", "line": 3}
    return Case(task, list(prompt), list(ids), Completion(text, finished, opened, len(ids)))


def encoded(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def chat(tokenizer, question: str, answer: str, finished: bool = True) -> Case:
    """A case as a rollout makes it: the served prompt, and the answer's ids without its stop token."""
    prompt = encoded(tokenizer, f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
    messages = [{"role": "user", "content": question}]
    return case(answer, finished, prompt, encoded(tokenizer, answer), messages)


class Recorder:
    """A forward that keeps the rows it is given, without their padding, and scores their lengths."""

    def __init__(self):
        self.rows, self.widths = [], []

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.rows += [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
        self.widths.append(ids.shape[1])
        assert all(kept.tolist() == sorted(kept.tolist(), reverse=True) for kept in mask)  # padding on the right
        return mask.sum(1).float()


def test_a_shared_reward_reads_to_the_end_of_the_turn():
    asked = Recorder()
    model = SharedReward(asked, turn_end=1, pad=0, device="cpu", batch=2)
    cases = [case("a", True, [9, 8], [5, 6, 7]), case("b", False, [9], [5]), case("c", True, [9, 8, 7], [])]
    assert model(cases) == [6.0, 3.0, 4.0]  # in their order, scored in that of their lengths
    assert asked.rows == [[9, 5, 1], [9, 8, 7, 1], [9, 8, 5, 6, 7, 1]] and asked.widths == [4, 6]


def test_a_rollout_ends_for_the_reward_model_as_its_training_rows_did(tiny_tokenizer):
    """The row that reward training makes of a chat is the one that a rollout of the same words is scored by."""
    encoding = tokens.encoding_for(tiny_tokenizer, CHATML, 512)
    turns = [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": "Rest."}]
    (item,) = tokens.encode([{"messages": turns}], tiny_tokenizer.backend_tokenizer, encoding)
    trained = list(item.samples[-1].ids[: item.samples[-1].spans[-1][1]])
    asked, (turn_end,) = Recorder(), encoded(tiny_tokenizer, "<|im_end|>")
    rolled = chat(tiny_tokenizer, "Fever?", tiny_tokenizer.decode(trained[trained.index(turn_end) + 1 :]))
    start = trained[: len(rolled.prompt)]
    assert start == rolled.prompt  # the template's served prompt
    rolled = rolled._replace(ids=trained[len(start) : -1])
    SharedReward(asked, turn_end, 0, "cpu")([rolled])
    assert asked.rows == [trained] and trained[-1] == turn_end
    separate = SeparateReward(asked, tiny_tokenizer, encoding, 0, "cpu")
    separate([rolled._replace(completion=Completion("Rest.", True))])
    assert asked.rows[1] == trained
    # Without the end of the turn it would be another row, and another score.
    assert [*rolled.prompt, *rolled.ids] != trained


def test_shared_and_separate_agree_on_one_base_tokenizer_and_template(tiny_tokenizer, tiny_model_dir, tmp_path):
    toys.reward_lora(tiny_model_dir).save_pretrained(tmp_path / "reward")
    toys.write_adapter(tiny_model_dir, tmp_path / "sft")
    model = roles.assemble(models.load_base(tiny_model_dir, "float32"), str(tmp_path / "sft"), None,
                           str(tmp_path / "reward")).eval()  # fmt: skip
    base = models.load_base(tiny_model_dir, "float32", num_labels=1)
    own, _ = reward_model.start(base, str(tmp_path / "reward"), "SEQ_CLS", None)
    own.config.pad_token_id = tiny_tokenizer.pad_token_id
    encoding = tokens.encoding_for(tiny_tokenizer, CHATML, 512)
    (turn_end,), pad = encoded(tiny_tokenizer, "<|im_end|>"), tiny_tokenizer.pad_token_id
    answers = [
        "First measure the temperature.",
        "建议多喝水，注意休息。",
        "<think>\nIt may be flu.\n</think>\n\nRest.",
    ]
    cases = []
    for answer in answers:
        thought, _, said = answer.rpartition("</think>")
        turn = {"role": "assistant", "content": said.strip()}
        if thought:
            turn["reasoning_content"] = thought.removeprefix("<think>").strip()
        row = {"messages": [{"role": "user", "content": "Fever?"}, turn]}
        (item,) = tokens.encode([row], tiny_tokenizer.backend_tokenizer, encoding)
        ids, (start, end) = list(item.samples[-1].ids), item.samples[-1].spans[-1]
        messages = [{"role": "user", "content": "Fever?"}]
        cases.append(case(answer, True, ids[:start], ids[start : end - 1], messages))
    shared = sources.shared_scores(model, turn_end, pad, "cpu", 2)(cases)
    separate = SeparateReward.of(own.eval(), tiny_tokenizer, CHATML, 512, 2)(cases)
    assert shared == pytest.approx(separate, abs=1e-5) and max(shared) - min(shared) > 1e-3
    with torch.no_grad():
        ids = torch.tensor([[*cases[0].prompt, *cases[0].ids, turn_end]])
        assert own(input_ids=ids).logits.item() == pytest.approx(shared[0], abs=1e-5)


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """Another tokenizer: a token for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(
        word_models.BPE(vocab={"<pad>": 0, "</s>": 1} | {c: n + 2 for n, c in enumerate(alphabet)}, merges=[])
    )
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="<pad>")


def read_by_another(letters, cases: list[Case], longest: int = 512) -> list[str]:
    """The texts of what a reward model with this tokenizer and the template vicuna is given."""
    asked = Recorder()
    encoding = tokens.encoding_for(letters, templates.get("vicuna"), longest)
    SeparateReward(asked, letters, encoding, 0, "cpu", batch=1)(cases)
    return [letters.decode(row) for row in asked.rows]


def test_another_tokenizer_and_template_read_the_text_anew(letters, tiny_tokenizer):
    plain = chat(tiny_tokenizer, "Fever?", "Rest.")
    assert read_by_another(letters, [plain]) == ["USER: Fever? ASSISTANT: Rest.</s>"]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Ill"},
    ]
    (found,) = read_by_another(letters, [case("Rest.", messages=messages)])
    assert found == "USER: Hi ASSISTANT: Hello.</s>USER: Ill ASSISTANT: Rest.</s>"
    asked = Recorder()
    encoding = tokens.encoding_for(letters, templates.get("vicuna"), 512)
    SeparateReward(asked, letters, encoding, 0, "cpu")([plain])
    wanted = [letters.convert_tokens_to_ids("Ġ" if c == " " else c) for c in "USER: Fever? ASSISTANT: Rest."]
    assert asked.rows == [[*wanted, 1]]


def test_thoughts_empty_answers_and_rows_that_are_too_long(letters):
    (found,) = read_by_another(letters, [case("", finished=False)])
    assert found == "USER: Fever for three days? ASSISTANT: -</s>"
    (found,) = read_by_another(letters, [case("flu\n</think>\n\nRest.", opened=True)])
    assert found == "USER: Fever for three days? ASSISTANT: <think>\nflu\n</think>\n\nRest.</s>"
    with pytest.raises(DataError, match="toy.jsonl:3.*cannot read this conversation: .*limit --max_source_length"):
        read_by_another(letters, [case("Rest. " * 40)], longest=64)


def scorer(rows: list[dict], weights: list[float]):
    """A scorer that says these things, and remembers what it was asked."""
    names = list(rows[0])
    asked: list[tuple] = []

    def score(completions, golds, messages):
        asked.append((completions, golds, messages))
        return rows

    return SimpleNamespace(names=names, weights=weights, score=score, asked=asked)


def test_rewards_are_weighted_clipped_and_added():
    said = [(1.0, 0.5), (None, 1.0), (None, None)]
    verifiable = scorer([{"accuracy": right, "format": strict} for right, strict in said], [2.0, 0.5])
    worth = Scores(lambda cases: [3.0, -40.0, 12.0], verifiable, model_weight=0.5, clip=10.0, missing_eos_penalty=1.0)
    cases = [case("a", gold={"answer": "B"}), case("b", finished=False), case("c", finished=False)]
    found = worth(cases)
    # 0.5 x 3 + 2 + 0.25; 0.5 x -10 + 0.5 - 1; 0.5 x 10 - 1
    assert found.total == [3.75, -5.5, 4.0]
    assert found.named == [
        {"reward_model": 3.0, "accuracy": 1.0, "format": 0.5},
        {"reward_model": -40.0, "accuracy": None, "format": 1.0},  # unclipped: what it said
        {"reward_model": 12.0, "accuracy": None, "format": None},
    ]
    assert worth.names == ["reward_model", "accuracy", "format"]
    completions, golds, messages = verifiable.asked[0]
    assert completions == [one.completion for one in cases] and golds == [{"answer": "B"}, {}, {}]
    assert messages[0] == [{"role": "user", "content": "Fever for three days?"}]


def test_each_part_may_be_absent():
    cases = [case("a"), case("b", finished=False)]
    assert Scores(lambda cases: [30.0, -2.0], None)(cases) == (
        [{"reward_model": 30.0}, {"reward_model": -2.0}],
        [30.0, -2.0],
    )
    alone = Scores(None, scorer([{"format": 1.0}, {"format": None}], [3.0]), missing_eos_penalty=0.0)
    assert alone(cases) == ([{"format": 1.0}, {"format": None}], [3.0, 0.0]) and alone.names == ["format"]


def test_answers_that_no_reward_speaks_of_are_told_once(caplog):
    silent = Scores(None, scorer([{"format": 1.0}, {"format": None}, {"format": None}], [1.0]))
    cases = [case("a"), case("b"), case("c")]
    assert silent(cases).total == [1.0, 0.0, 0.0] and silent(cases).total == [1.0, 0.0, 0.0]
    told = "toy.jsonl:3: no reward says anything about 2 of 3 answers, such as this row's, which are trained on as"
    assert caplog.text.count(told) == 1
    caplog.clear()
    Scores(lambda cases: [1.0, 2.0, 3.0], silent.scorer)(cases)
    assert not caplog.text, "a reward model speaks of every answer"
