"""grpo_training.py as a user calls it: main([...]) on a tiny model; and what our mixin adds to TRL's trainers.

sh run_tests.sh tests/stages/test_grpo.py
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import grpo_training
import supervised_finetuning
from bedside import lineage, settle_rollouts
from bedside.errors import Alarmed, ConfigError, DataError
from bedside.grpo.order import EpochOrder
from bedside.grpo.rewards import TaskRewards
from bedside.grpo.trainer import TaskTrainer
from bedside.ppo.scores import Scores
from bedside.rollouts import measures
from bedside.rollouts.alarms import Thresholds
from bedside.settle_rollouts import thresholds
from bedside.stage_args import RolloutArguments
from tests.stages.files import history, logged, metrics, same, weights, write

# Rewards that a tiny random model can earn: how its text adds up, and how much of it is plain ASCII letters.
REWARDS = """
def sums(completion, gold, messages):
    return sum(map(ord, completion.text)) % 100 / 100

def letters(completion, gold, messages):
    text = completion.text
    return sum(c.isascii() and c.isalpha() for c in text) / len(text) if text else 0.0

def sometimes(completion, gold, messages):
    return None if gold["answer"] == "flu 3" else sums(completion, gold, messages)

def always(completion, gold, messages):
    return 0.0 if completion.text.rstrip().endswith("</think>") else 1.0
"""


def task_rows(count: int = 8) -> list[dict]:
    return [{"question": f"Fever for {n} days? " + "Really? " * (n % 3), "answer": f"flu {n}", "kind": "diagnosis"}
            for n in range(count)]  # fmt: skip


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output),
        "--template_name", "qwen3", "--max_completion_length", "12", "--max_prompt_length", "100",
        "--reward_funcs", f"{data.parent}/toy.py:sums", "--num_generations", "2", "--per_device_train_batch_size",
        "2", "--gradient_accumulation_steps", "2", "--learning_rate", "1e-3", "--lora_r", "4",
        "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none", "--max_steps", "2",
        "--save_strategy", "no", "--plot_loss", "False", "--seed", "7", "--alarm_window", "500", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("tasks")
    (directory / "toy.py").write_text(REWARDS, encoding="utf-8")
    return write(directory / "rows.jsonl", task_rows())


@pytest.fixture(scope="module")
def sft(tmp_path_factory, tiny_model_dir) -> Path:
    root = tmp_path_factory.mktemp("sft")
    rows = write(root / "sft.jsonl", [{"instruction": f"Cough {n}?", "output": "Drink water."} for n in range(8)])
    supervised_finetuning.main([
        "--model_name_or_path", tiny_model_dir, "--train_file_dir", str(rows), "--output_dir", str(root / "out"),
        "--template_name", "qwen3", "--max_length", "64", "--max_steps", "2", "--learning_rate", "1e-3", "--lora_r",
        "4", "--report_to", "none", "--save_strategy", "no", "--qlora", "True", "--gradient_checkpointing", "False",
    ])  # fmt: skip
    return root / "out"


@pytest.fixture(scope="module")
def run(tmp_path_factory, sft, data):
    """The QLoRA adapter of an SFT continued, with reference, checkpoints and held-out tasks; and what was trained."""
    output, seen = tmp_path_factory.mktemp("grpo") / "out", set()
    argv = flags(
        sft, data, output, "--qlora", "True", "--beta", "0.1", "--max_steps", "4", "--save_strategy", "steps",
        "--save_steps", "2", "--validation_split_percentage", "25", "--plot_loss", "True",
    )  # fmt: skip

    original = TaskTrainer.training_step

    def watched(self, model, *args, **kwargs):
        seen.update(parameter.dtype for parameter in model.parameters() if parameter.requires_grad)
        return original(self, model, *args, **kwargs)

    TaskTrainer.training_step = watched
    try:
        grpo_training.main(argv)
    finally:
        TaskTrainer.training_step = original
    return argv, output, seen


def test_the_sft_is_continued_and_its_frozen_copy_is_the_reference(run, sft):
    _, output, _ = run
    manifest = lineage.read(output)
    assert (manifest["stage"], manifest["reference"]["kind"]) == ("grpo", "adapter")
    assert manifest["reference"]["id"] == lineage.read(sft)["id"]
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [("sft", "continued")]
    assert same(output / "ref", sft) and not same(output, sft)
    assert logged(output, "kl")[0] == 0.0 and logged(output, "kl")[-1] > 0.0
    assert lineage.damage(output) is None


def test_adapters_of_a_quantised_base_are_trained_in_float32(run):
    _, output, seen = run
    assert seen == {torch.float32}
    assert {tensor.dtype for tensor in weights(output).values()} == {torch.float32}


def test_what_a_run_leaves(run):
    _, output, _ = run
    found = metrics(output)
    assert found["heldout_tasks"] == 2 and {"heldout_reward_before", "heldout_reward"} <= found.keys()
    assert (output / "exam_before.json").is_file() and (output / "exam_after.json").is_file()
    kept = [json.loads(line) for line in (output / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in kept] == [step for step in range(4) for _ in range(4)]
    assert kept[0]["where"].endswith(tuple(f"rows.jsonl:{n}" for n in range(1, 9)))
    assert kept[0]["rewards"].keys() == {"sums"} and kept[0]["reward"] == pytest.approx(kept[0]["rewards"]["sums"])
    assert {kept[0]["where"], kept[1]["where"]} == {kept[2]["where"], kept[3]["where"]}  # one of each group first
    assert (output / "plots" / "reward.png").is_file()
    assert "train_perplexity" not in found
    inputs = lineage.read(output)["inputs"]
    assert inputs["rewards"] == {"sums": 1.0} and inputs["limits"] == [100, 12] and inputs["beta"] == 0.1


@pytest.mark.slow
def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, output, _ = run
    shutil.copytree(output / "checkpoint-2", tmp_path / "out" / "checkpoint-2")
    shutil.copy(output / "samples.jsonl", tmp_path / "out")
    shutil.copy(output / "exam_before.json", tmp_path / "out")
    argv = [str(tmp_path / "out") if word == str(output) else word for word in argv]
    grpo_training.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(tmp_path / "out", output)
    assert logged(tmp_path / "out", "reward") == logged(output, "reward")
    texts = [(path / "samples.jsonl").read_text("utf-8") for path in (output, tmp_path / "out")]
    assert texts[0] == texts[1]
    assert metrics(tmp_path / "out")["heldout_reward"] == metrics(output)["heldout_reward"]


@pytest.mark.parametrize(
    "more, kind",
    [
        (["--beta", "0.1"], "adapter_off"),
        (["--algorithm", "rloo"], "adapter_off"),
        (["--use_peft", "False", "--beta", "0.1"], "model"),
        (["--beta", "0"], "none"),
    ],
    ids=lambda more: " ".join(more) if isinstance(more, list) else more,
)
def test_every_reference_starts_at_no_distance(tiny_model_dir, data, tmp_path, more, kind):
    grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", *more))
    assert lineage.read(tmp_path / "out")["reference"]["kind"] == kind
    found = logged(tmp_path / "out", "kl")
    assert found == [] if kind == "none" else found[0] == pytest.approx(0.0, abs=1e-6)


def test_a_wrong_reference_stops_the_run(tiny_model_dir, data, tmp_path, monkeypatch):
    from bedside.preference import reference

    def spoilt(chosen, model):
        for name, parameter in model.named_parameters():
            if ".ref." in name:
                parameter.data += 0.5

    monkeypatch.setattr(reference, "without_needless_copy", spoilt)
    with pytest.raises(ConfigError, match="the KL before the first step is .*, expected 0: policy and reference"):
        grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", "--beta", "0.1"))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_toy_reward_is_learnt(tiny_model_dir, data, tmp_path, algorithm):
    grpo_training.main(flags(
        tiny_model_dir, data, tmp_path / "out", "--algorithm", algorithm, "--reward_funcs",
        f"{data.parent}/toy.py:letters", "--num_generations", "8", "--per_device_train_batch_size", "16",
        "--max_steps", "25", "--learning_rate", "1e-2", "--use_peft", "False", "--beta", "0",
    ))  # fmt: skip
    found = logged(tmp_path / "out", "reward")
    assert sum(found[-5:]) / 5 > sum(found[:5]) / 5 + 0.2, found


def test_the_models_own_sampling_settings_do_not_leak_in(tiny_model_dir, data, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(tiny_model_dir, odd)
    own = (
        json.loads((odd / "generation_config.json").read_text("utf-8"))
        if (odd / "generation_config.json").exists()
        else {}
    )
    own |= {"repetition_penalty": 5.0, "top_k": 2, "no_repeat_ngram_size": 1, "temperature": 0.1, "do_sample": True}
    (odd / "generation_config.json").write_text(json.dumps(own), encoding="utf-8")
    for model, output in ((tiny_model_dir, tmp_path / "plain"), (odd, tmp_path / "with")):
        grpo_training.main(flags(model, data, output, "--max_steps", "1"))
    first, second = ((tmp_path / name / "samples.jsonl").read_text("utf-8") for name in ("plain", "with"))
    assert first == second


def test_thoughts_are_switched_off_in_the_prompts_too(tiny_model_dir, data, tmp_path, monkeypatch):
    asked = []
    original = TaskTrainer._drawn
    monkeypatch.setattr(TaskTrainer, "_drawn", lambda self, ids: asked.extend(ids) or original(self, ids))
    grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", "--max_steps", "1", "--enable_thinking", "False"))
    from bedside import models

    tokenizer = models.load_tokenizer(tiny_model_dir)
    texts = {tokenizer.decode(ids) for ids in asked}
    assert len(asked) == 4 and len(texts) == 2
    assert all(text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n") for text in texts), texts


def test_rows_that_no_reward_speaks_of_are_told_by_their_line_alone(tiny_model_dir, data, tmp_path, caplog, capsys):
    rewards = ["--reward_funcs", f"{data.parent}/toy.py:sometimes"]
    grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", *rewards, "--max_steps", "4"))
    said = capsys.readouterr().err + caplog.text
    assert "rows.jsonl:4: no reward says anything about this row" in said
    assert "All reward functions returned None" not in said and "Fever for" not in said


def test_a_reward_that_nothing_moves_is_told(tiny_model_dir, data, tmp_path):
    with pytest.raises(ConfigError, match="no trained tensor changed in 30 steps: .*rewarded alike"):
        grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", "--reward_funcs",
                                 f"{data.parent}/toy.py:always", "--max_steps", "40"))  # fmt: skip


def test_the_self_test_stops_the_run_before_the_model_is_loaded(tiny_model_dir, tmp_path, monkeypatch):
    from bedside import policy

    monkeypatch.setattr(policy, "load", lambda *args, **kwargs: pytest.fail("the model was loaded"))
    rows = [{"question": f"Which option {n}?", "answer": "a long story " * 30, "kind": "reference"} for n in range(8)]
    path = write(tmp_path / "rows.jsonl", rows)
    argv = flags(tiny_model_dir, path, tmp_path / "out")
    argv[argv.index("--reward_funcs") + 1] = "accuracy"
    with pytest.raises((ConfigError, DataError), match="accuracy"):
        grpo_training.main(argv)


def test_an_alarm_stops_the_run_with_a_sentence(tiny_model_dir, data, tmp_path):
    with pytest.raises(Alarmed, match="the answers shrank|the entropy fell|the KL to the reference"):
        grpo_training.main(flags(
            tiny_model_dir, data, tmp_path / "out", "--beta", "0.001", "--learning_rate", "0.3", "--max_steps", "30",
            "--alarm_kl", "0.5", "--max_grad_norm", "100",
        ))  # fmt: skip


REFUSED = {
    "groups": (["--per_device_train_batch_size", "3"], "a rollout of 6 answers .* multiple of --num_generations 4"),
    "one answer": (["--num_generations", "1"], "--num_generations 1: expected at least 2"),
    "top_p": (["--top_p", "0.9"], "--top_p 0.9: answers are drawn from the whole distribution"),
    "penalty": (["--repetition_penalty", "1.2"], "--repetition_penalty 1.2: answers are drawn"),
    "temperature": (["--temperature", "0"], "--temperature 0: expected more than 0"),
    "other algorithm": (["--algorithm", "rloo", "--epsilon_high", "0.3", "--loss_type", "grpo"],
                        "--loss_type grpo: belongs to --algorithm grpo"),
    "rloo alone": (["--normalize_advantages", "True"], "--normalize_advantages True: belongs to --algorithm rloo"),
    "vllm": (["--use_vllm", "True", "--qlora", "True"], "--use_vllm with a quantised base: .* 4-bit or 8-bit base"),
    "no vllm": (["--use_vllm", "True"], "--use_vllm True: vllm is not installed"),
    "checkpoints": (["--steps_per_generation", "6", "--save_strategy", "steps", "--save_steps", "5"],
                    "--save_steps 5: a rollout serves 3 optimizer steps"),
    "context": (["--max_completion_length", "600"], "more than the model's context of 512 tokens"),
    "sequence": (["--max_length", "512"], "--max_length: use --max_source_length .* and --max_completion_length"),
    "rows": (["--per_device_train_batch_size", "16"], "8 question.s. to train on, and a rollout asks 16"),
    "weights": (["--reward_weights", "1,2"], "2 reward weights for 1 rewards"),
    "no number": (["--reward_weights", "much"], "--reward_weights much: expected numbers"),
    "batches": (["--generation_batch_size", "8", "--steps_per_generation", "2"], "give one"),
    "evaluation": (["--eval_strategy", "steps", "--per_device_eval_batch_size", "3", "--num_generations_eval", "2"],
                   "--per_device_eval_batch_size 3: expected a multiple of --num_generations_eval 2"),
    "no reward": (["--reward_funcs", "none"], "nothing to reward: give --reward_funcs"),
    "alarm": (["--alarm_kl", "-1"], "--alarm_kl -1: expected at least 0"),
    "reward model": (["--reward_model_path", "outputs-rm"], "--reward_model_path: belongs to ppo_training.py"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_flags_that_cannot_be_meant(tiny_model_dir, data, tmp_path, name):
    more, message = REFUSED[name]
    group = ["--num_generations", "4"] if name == "groups" else []
    with pytest.raises(ConfigError, match=message):
        grpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", *group, *more))


def test_held_out_tasks_are_sampled_alike_in_every_evaluation(tiny_model_dir, data, tmp_path):
    grpo_training.main(flags(
        tiny_model_dir, data, tmp_path / "out", "--validation_split_percentage", "50", "--eval_strategy", "steps",
        "--eval_steps", "1", "--learning_rate", "0", "--max_steps", "2",
    ))  # fmt: skip
    found = logged(tmp_path / "out", "eval_reward")
    assert len(found) == 3 and len(set(found)) == 1  # nothing is learnt: the same policy, the same luck


def test_an_order_for_each_epoch():
    class Groups:
        """As TRL's: shuffles by a generator that goes on from epoch to epoch."""

        generator = torch.Generator()

        def __iter__(self):
            return iter(torch.randperm(50, generator=self.generator).tolist())

        def __len__(self):
            return 50

    order = EpochOrder(Groups(), 7)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    order.set_epoch(0)
    assert list(order) == first != second and len(order) == 50
    late = EpochOrder(Groups(), 7)
    late.set_epoch(1)
    assert list(late) == second


class _Scorer:
    """Says how long the text is, and nothing about reference rows."""

    names, weights = ["length", "known"], [1.0, 0.5]

    def __init__(self):
        self.calls = 0

    def score(self, completions, golds, messages):
        self.calls += 1
        self.last = completions
        return [{"length": float(len(completion.text)), "known": None if gold.get("kind") == "reference" else 1.0}
                for completion, gold in zip(completions, golds, strict=True)]  # fmt: skip


def test_answers_are_scored_once_for_all_rewards_without_their_stop_token():
    scorer = _Scorer()
    made = TaskRewards(Scores(None, scorer), lambda ids: "x" * len(ids), [2, 9])
    length, known = made.functions()
    assert (length.__name__, known.__name__) == ("length", "known")
    columns = {"gold": ["{}", '{"kind": "reference"}'], "source": ["f", "f"], "line": [1, 2], "opened": [False, True],
               "prompt_ids": [[1], [1]]}  # fmt: skip
    ids = [[5, 6, 9], [5, 6, 7, 8]]
    batch = {"prompts": ['[{"role": "user", "content": "q"}]'] * 2, "completion_ids": ids, "completions": ["", ""]}
    assert length(**batch, **columns) == [2.0, 4.0] and known(**batch, **columns) == [1.0, None]
    assert scorer.calls == 1
    assert [(c.finished, c.opened, c.tokens) for c in scorer.last] == [(True, False, 3), (False, True, 4)]


def test_the_longest_question_leaves_room_for_the_answer():
    class Args(dict):
        given: set[str] = set()
        trainer = {"max_completion_length": 100}

    args = Args({RolloutArguments: RolloutArguments(max_source_length=1024)})
    assert settle_rollouts.longest_prompt(args, 512, "max_completion_length") == 412
    assert settle_rollouts.longest_prompt(args, None, "max_completion_length") == 1024
    with pytest.raises(ConfigError, match="context of 100 tokens"):
        settle_rollouts.longest_prompt(args, 100, "max_completion_length")


def test_history_has_the_names_that_curves_and_alarms_read(run):
    _, output, _ = run
    row = history(output)[0]
    assert measures.of(row).keys() >= {"reward", "kl", "length", "clipped", "eos", "entropy", "clip_fraction"}
    assert measures.rewards(row).keys() == {"sums"}


def test_the_alarms_of_the_flags_are_the_alarms_defaults():
    assert thresholds(RolloutArguments()) == Thresholds()
