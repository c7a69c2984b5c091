"""ppo_training.py as a user calls it: main([...]) on a tiny model, from what it may start, with what may reward it.

sh run_tests.sh tests/stages/test_ppo.py
"""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import inference
import merge_peft_adapter
import ppo_training
import reward_modeling
import supervised_finetuning
from bedside import lineage
from bedside.errors import Alarmed, ConfigError, DataError, LineageError
from bedside.lineage import __main__ as lineage_command
from tests.stages.files import history, logged, metrics, same, weights, write

# Rewards that a tiny random model can earn, and some that are wrong.
REWARDS = """
def sums(completion, gold, messages):
    return sum(map(ord, completion.text)) % 100 / 100

def raises(completion, gold, messages):
    return gold["dose"]

def words(completion, gold, messages):
    return "much"

def later(completion, gold, messages):
    return 1.0 if completion.text.startswith("<think>") else float("nan")
"""


def task_rows(count: int = 8) -> list[dict]:
    return [{"question": f"Fever for {n} days? " + "Really? " * (n % 3), "answer": f"flu {n}", "kind": "diagnosis"}
            for n in range(count)]  # fmt: skip


def flags(model, data, output, *more) -> list[str]:
    """Three rollouts of four answers, two steps on each."""
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output),
        "--max_source_length", "100", "--response_length", "12", "--per_device_train_batch_size", "2",
        "--gradient_accumulation_steps", "2", "--num_ppo_epochs", "2", "--total_episodes", "12", "--learning_rate",
        "1e-2", "--lora_r", "4", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--save_strategy", "no", "--plot_loss", "False", "--seed", "7", *map(str, more),
    ]  # fmt: skip


def trained(script, model, data, output, *more) -> Path:
    """What a short run of another stage leaves."""
    script.main([
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output), "--max_length",
        "96", "--per_device_train_batch_size", "2", "--max_steps", "4", "--learning_rate", "1e-2", "--lora_r", "4",
        "--gradient_checkpointing", "False", "--report_to", "none", "--save_strategy", "steps", "--save_steps", "2",
        "--plot_loss", "False", *more,
    ])  # fmt: skip
    return output


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ppo")


@pytest.fixture(scope="module")
def data(places) -> Path:
    (places / "toy.py").write_text(REWARDS, encoding="utf-8")
    return write(places / "tasks.jsonl", task_rows())


@pytest.fixture(scope="module")
def sft(places, tiny_model_dir) -> Path:
    rows = write(places / "sft.jsonl", [{"instruction": f"Cough {n}?", "output": "Drink water."} for n in range(8)])
    return trained(supervised_finetuning, tiny_model_dir, rows, places / "sft", "--template_name", "qwen3")


@pytest.fixture(scope="module")
def pairs(places) -> Path:
    rows = [{"prompt": f"Fever for {n} days?", "chosen": f"Rest {n} days.", "rejected": "No."} for n in range(8)]
    return write(places / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def rm(places, tiny_model_dir, pairs) -> Path:
    """A reward model on the policy's own base."""
    return trained(reward_modeling, tiny_model_dir, pairs, places / "rm", "--template_name", "qwen3")


@pytest.fixture(scope="module")
def run(places, sft, rm, data) -> Path:
    """PPO that continues the adapter, with a shared reward model, checkpoints, held-out tasks, TensorBoard."""
    output = places / "run"
    ppo_training.main(flags(
        sft, data, output, "--reward_model_path", rm, "--validation_split_percentage", "25", "--eval_strategy",
        "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "3", "--report_to", "tensorboard",
        "--plot_loss", "True", "--samples_kept", "3",
    ))  # fmt: skip
    return output


def test_the_sft_is_continued_and_its_frozen_copy_is_the_reference(run, sft, rm):
    assert logged(run, "kl")[0] == 0.0 and logged(run, "kl")[-1] != 0.0
    assert set(logged(run, "first_ratio_gap")) == {0.0}
    assert logged(run, "grad_norm/policy")[:2] == [0.0, 0.0], "the critic alone learns in the first rollout"
    assert weights(run).keys() == weights(sft).keys() and not same(run, sft)
    assert {p.name for p in run.iterdir() if p.is_dir()} == {"checkpoint-4", "checkpoint-6", "plots", "runs"}
    manifest = lineage.read(run)
    assert (manifest["stage"], manifest["kind"]) == ("ppo", "adapter")
    assert manifest["reference"]["kind"] == "adapter" and manifest["reference"]["id"] == lineage.read(sft)["id"]
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [("sft", "continued")]
    assert manifest["inputs"]["rewards"] == {
        "reward_model": {"path": "rm", "id": lineage.read(rm)["id"], "shared": True, "weight": 1.0}
    }
    assert lineage.damage(run) is None and lineage.damage(run / "checkpoint-4") is None


def test_what_a_run_leaves(run):
    found = metrics(run)
    assert found["heldout_tasks"] == 2 and {"heldout_reward", "heldout_reward_model_before"} <= found.keys()
    assert {"eval_reward", "eval_kl", "eval_format", "eval_eos", "eval_length"} <= found.keys()
    assert "train_perplexity" not in found, "PPO's loss is no likelihood"
    kept = [json.loads(line) for line in (run / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in kept] == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    assert kept[0]["rewards"].keys() == {"reward_model"} and ".jsonl:" in kept[0]["where"]
    assert (run / "exam_before.json").is_file() and (run / "exam_after.json").is_file()
    curves = {path.name for path in (run / "plots").iterdir()}
    assert {"reward.png", "kl.png", "explained_variance.png"} <= curves
    table = b"".join(path.read_bytes() for path in (run / "runs").rglob("events*"))
    assert b"| prompt | question | completion |" in table and b"rewards/reward_model" in table
    assert [row["step"] for row in history(run) if "eval_reward" in row] == [2, 4, 6, 6]


def test_checkpoints_stand_between_rollouts(run, capsys, sft, rm, data, tmp_path):
    assert (run / "checkpoint-4" / "critic" / "value_head.safetensors").is_file()
    assert not (run / "critic").exists(), "the end of the run is a plain adapter"
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--save_strategy", "steps",
                            "--save_steps", "0.3", "--max_steps", "3", "--num_train_epochs", "3"))  # fmt: skip
    said = capsys.readouterr().err
    assert "--max_steps 3 becomes 4: a rollout lasts 2 optimizer steps" in said
    assert "--max_steps 3 decides how long the run is; --total_episodes 12 and --num_train_epochs 3 has no" in said
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}


def test_the_result_is_shown_merges_and_answers(run, tmp_path, capsys):
    lineage_command.main(["show", str(run)])
    shown = capsys.readouterr().out
    assert "ppo" in shown and "sft" in shown
    merge_peft_adapter.main(["--peft_model_path", str(run), "--output_dir", str(tmp_path / "merged")])
    write(tmp_path / "asked.jsonl", [{"instruction": "Fever?"}])
    for name, model in (("adapter", ("--lora_model", run)), ("merged", ("--base_model", tmp_path / "merged"))):
        inference.main([*map(str, model), "--data_file", str(tmp_path / "asked.jsonl"), "--output_file",
                        str(tmp_path / f"{name}.jsonl"), "--max_new_tokens", "8"])  # fmt: skip
        assert len((tmp_path / f"{name}.jsonl").read_text("utf-8").splitlines()) == 1


@pytest.fixture(scope="module")
def merged(places, sft) -> Path:
    merge_peft_adapter.main(["--peft_model_path", str(sft), "--output_dir", str(places / "merged")])
    return places / "merged"


@pytest.fixture(scope="module")
def stranger(places, pairs) -> Path:
    """A whole reward model with a base, a tokenizer and a template of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        ["rest and drink"] * 4,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                         num_attention_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(places / "other")
    tokenizer.save_pretrained(places / "other")
    more = ("--template_name", "vicuna", "--use_peft", "False")
    return trained(reward_modeling, places / "other", pairs, places / "stranger", *more)


TEMPLATE = ("--template_name", "qwen3")
STARTS = {
    "a checkpoint of the sft": ("sft/checkpoint-2", (), "adapter", "continued"),
    "a merged model": ("merged", (), "adapter_off", "merged"),
    "a base": ("base", TEMPLATE, "adapter_off", None),
    "a base in 4-bit": ("base", (*TEMPLATE, "--qlora", "True"), "adapter_off", None),
    "an sft adapter in 4-bit": ("sft", ("--qlora", "True"), "adapter", "continued"),
    "an sft adapter in bf16": ("sft", ("--bf16", "True"), "adapter", "continued"),
}


@pytest.mark.parametrize("start", STARTS)
def test_every_start_is_its_own_reference(places, sft, merged, rm, tiny_model_dir, data, tmp_path, start):
    name, more, kind, how = STARTS[start]
    model = tiny_model_dir if name == "base" else places / name
    ppo_training.main(flags(model, data, tmp_path / "out", "--reward_model_path", rm, *more))
    found, manifest = logged(tmp_path / "out", "kl"), lineage.read(tmp_path / "out")
    assert found[0] == 0.0 and any(found[1:]) and set(logged(tmp_path / "out", "first_ratio_gap")) == {0.0}
    assert manifest["reference"]["kind"] == kind
    assert [parent["how"] for parent in manifest["parents"]][-1:] == ([how] if how else [])


def first_rewards(output: Path) -> dict[str, float]:
    """Every reward of the first rollout, by its name."""
    first = history(output)[0]
    return {name.removeprefix("rewards/"): first[name] for name in first if name.startswith("rewards/")}


def test_a_shared_reward_model_scores_as_one_by_itself(sft, rm, data, tmp_path, monkeypatch, tiny_tokenizer):
    # A text that its template writes again as it was.
    said = tiny_tokenizer("<think>\n\n</think>\n\nRest and drink.<|im_end|>")["input_ids"]

    def drawn(model, prompts, mask, drawing, *args):
        return torch.tensor([said + [drawing.pad] * (drawing.longest - len(said))] * len(prompts))

    monkeypatch.setattr("bedside.ppo.rollout.draw", drawn)
    scored = []
    for share in ("yes", "no"):
        output = tmp_path / share
        ppo_training.main(flags(sft, data, output, "--reward_model_path", rm, "--share_reward_base", share,
                                "--total_episodes", "8", "--response_length", "40"))  # fmt: skip
        scored.append(first_rewards(output)["reward_model"])
        assert lineage.read(output)["inputs"]["rewards"]["reward_model"]["shared"] == (share == "yes")
    assert scored[0] == pytest.approx(scored[1], abs=1e-5) and scored[0] != 0.0


def test_a_reward_model_of_another_base_reads_answers_in_its_own_template(sft, stranger, data, tmp_path):
    output = tmp_path / "out"
    ppo_training.main(flags(sft, data, output, "--reward_model_path", stranger, "--reward_model_weight", "0.5",
                            "--missing_eos_penalty", "None"))  # fmt: skip
    first = history(output)[0]
    assert first["reward"] == pytest.approx(0.5 * first["rewards/reward_model"])
    assert lineage.read(output)["inputs"]["rewards"]["reward_model"]["shared"] is False


def test_verifiable_rewards_alone_and_beside_a_reward_model(sft, rm, data, tmp_path, capsys):
    ppo_training.main(flags(sft, data, tmp_path / "alone", "--total_episodes", "8"))
    assert first_rewards(tmp_path / "alone").keys() == {"accuracy", "format"}
    more = ("--reward_model_path", rm, "--reward_model_weight", "2", "--reward_funcs", "format",
            f"{data.parent}/toy.py:sums", "--reward_weights", "0.5", "3", "--missing_eos_penalty", "0")  # fmt: skip
    ppo_training.main(flags(sft, data, tmp_path / "both", *more, "--total_episodes", "8"))
    found = first_rewards(tmp_path / "both")
    assert found.keys() == {"reward_model", "format", "sums"}
    total = 2 * found["reward_model"] + 0.5 * found["format"] + 3 * found["sums"]
    assert history(tmp_path / "both")[0]["reward"] == pytest.approx(total, abs=1e-5)
    said = capsys.readouterr().err
    assert "rm (an adapter on the policy's base) x 2, format x 0.5, sums x 3" in said
    assert "reward accuracy: gold 1.00, shuffled 0.00" in said, "verifiable rewards test themselves first"


WRONG = {
    "no reward model there": ("--reward_model_path nowhere", "--reward_model_path nowhere: cannot be loaded"),
    "no such path": ("--reward_model_path ./nowhere", "--reward_model_path ./nowhere: no such directory"),
    "a language model rewards": ("--reward_model_path {sft}", "a language model, which gives no score; train a"),
    "a reward model is the policy": ("--model_name_or_path {rm}", "is a SEQ_CLS model .* give the model that answers"),
    "all parameters": ("--use_peft False", "--use_peft False: PPO's four roles are adapters of one frozen base"),
    "pissa": ("--init_lora_weights pissa", "pissa: takes weights out of the base that all four roles share"),
    "whole modules": ("--lora_modules_to_save embed_tokens", "embed_tokens: whole modules cannot differ between"),
    "a typo in a reward": ("--reward_funcs acuracy", "reward acuracy: did you mean accuracy"),
    "nothing rewards": ("--reward_funcs none", "nothing to reward: give --reward_model_path"),
    "weight of nothing": ("--reward_model_weight 2", "--reward_model_weight: has a meaning with --rew"),
    "sharing nothing": ("--share_reward_base no", "--share_reward_base: has a meaning"),
    "one rollout": ("--total_episodes 4", "has 1 rollout.* the policy would stay as it is; give more than"),
    "a template that is not read": ("--reward_model_path {rm} --reward_template_name qwen3", "reads the policy's"),
    "sharing another base": ("--reward_model_path {stranger} --share_reward_base yes", "whole model, not an adapter"),
    "a reward that raises": ("--reward_funcs {toy}:raises", r"tasks.jsonl:1: reward .*toy.py:raises: raised KeyError"),
    "a reward of text": ("--reward_funcs {toy}:words", "tasks.jsonl:1: reward .*:words: returned str, expected"),
    "a reward that is no number later": ("--reward_funcs {toy}:later", "tasks.jsonl:[1-8]: reward .* returned nan"),
    "no function": ("--reward_funcs {toy}:much", "toy.py has no function much; it has sums, raises, words, later"),
    "nothing to verify": ("--reward_funcs accuracy --train_file_dir {prose}", "accuracy: applies to no row"),
    "near a flag": ("--kl_ceof 0.1", "--kl_ceof: unknown flag; did you mean --kl_coef"),
    "longer than the context": ("--response_length 600", "--response_length 600 are more than .* context of 512"),
    "together longer": ("--response_length 450", "--max_source_length 100 and --response_length 450 are more than"),
    "no server": ("--use_vllm True --vllm_server_base_url http://127.0.0.1:9", "no vLLM server answers there"),
    "an empty directory": ("--train_file_dir {empty}", "empty: no data file here"),
    "another encoding": ("--train_file_dir {gbk}", "gbk.jsonl:1: E_ENCODING .* add --encoding gb18030"),
    "a target without its controller": ("--target_kl 3", "has a meaning with --adaptive_kl True only"),
    "a negative coefficient": ("--kl_coef -1", "--kl_coef -1: expected 0 or more"),
    "no temperature": ("--temperature 0", "--temperature 0: expected more than 0"),
    "an alarm without sense": ("--alarm_cut 2", "--alarm_cut 2: expected a share below 1"),
    "one length for both": ("--max_length 512", "--max_length: use --max_source_length .* and --response_length"),
    "packed": ("--packing True", "--packing: answers are sampled, and rows are not packed"),
    "by length": ("--group_by_length True", "--train_sampling_strategy group_by_length: questions come in a random"),
    "noise": ("--neftune_noise_alpha 5", "--neftune_noise_alpha 5.0: noise on the embeddings would part"),
    "labels": ("--label_smoothing_factor 0.1", "--label_smoothing_factor 0.1: PPO's loss has no labels"),
    "a batch that shrinks": ("--auto_find_batch_size True", "--auto_find_batch_size True: a smaller batch"),
    "compiled": ("--torch_compile True", "--torch_compile True: four roles and a growing answer"),
    "white rewards": ("--whiten_rewards True", "--whiten_rewards: advantages are whitened over the whole rollout"),
    "a value model": ("--value_model_path X", "--value_model_path: the critic begins as the reward model"),
    "another sampling": ("--top_p 0.9", "--top_p: answers are drawn from the whole distribution"),
}  # fmt: skip


@pytest.fixture(scope="module")
def wrong_files(places, sft, rm, stranger, data) -> dict[str, Path]:
    (places / "empty").mkdir()
    row = '{"question": "发热咳嗽三天，应该怎么办？", "answer": "感冒"}\n'
    (places / "gbk.jsonl").write_bytes((row * 8).encode("gbk"))
    prose = [{"instruction": f"Q {n}?", "output": "A long story. " * 30} for n in range(4)]
    return {"sft": sft, "rm": rm, "stranger": stranger, "toy": places / "toy.py", "empty": places / "empty",
            "gbk": places / "gbk.jsonl", "prose": write(places / "prose.jsonl", prose)}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_a_sentence(wrong_files, sft, data, tmp_path, name):
    text, told = WRONG[name]
    argv = flags(sft, data, tmp_path / "out")
    for word in (words := shlex.split(text.format(**wrong_files))):
        if word in argv and word.startswith("--"):  # it takes the place of what the run has
            del argv[(at := argv.index(word)) : at + 2]
    with pytest.raises((ConfigError, DataError, LineageError), match=told):
        ppo_training.main([*argv, *words])
    assert not (tmp_path / "out" / "lineage.json").exists()


def test_fewer_questions_than_a_rollout_come_again(sft, rm, tmp_path, capsys):
    data = write(tmp_path / "two.jsonl", task_rows(2))
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--samples_kept", "4"))
    assert "a rollout asks 4 questions and there are 2: some come more than once in it" in capsys.readouterr().err
    kept = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text("utf-8").splitlines()]
    first = [(row["where"], row["text"]) for row in kept if row["step"] == 0]
    assert len({where for where, _ in first}) == 2 and len(set(first)) == 4, "the same question is answered anew"


def test_held_out_rows_that_are_trained_on_are_told(sft, rm, data, tmp_path, capsys):
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--validation_file_dir", data,
                            "--exam_samples", "2", "--total_episodes", "8"))  # fmt: skip
    assert "warning: validation files are training files" in capsys.readouterr().err
    assert metrics(tmp_path / "out")["heldout_tasks"] == 2


def test_the_seeds_command(places, sft, rm, data, tmp_path, monkeypatch, capsys):
    """Seed 003, section 4.4, paths, the number of episodes and the length of answers apart."""
    monkeypatch.chdir(tmp_path)
    for name, source in (("outputs-sft-qwen-v1", sft), ("outputs-rm-qwen-v1", rm)):
        shutil.copytree(source, tmp_path / name)
        (tmp_path / name / "checkpoint-4").rename(tmp_path / name / "checkpoint-500")
    base = (sft / lineage.read(sft)["load"]["base"]["path"]).resolve()
    shutil.copytree(base, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text("utf-8"))
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}), "utf-8")
    for place in tmp_path.rglob("lineage.json"):
        kept = json.loads(place.read_text("utf-8"))
        kept["load"]["base"]["path"] = "../" * (len(place.relative_to(tmp_path).parts) - 1) + "model"
        place.write_text(json.dumps(kept), "utf-8")
    (tmp_path / "data/finetune").mkdir(parents=True)
    rows = [{"instruction": f"Fever {n}?", "input": "", "output": "Rest and drink."} for n in range(4)]
    write(tmp_path / "data/finetune/rows.jsonl", rows)
    ppo_training.main(
        shlex.split("""
        --sft_model_path outputs-sft-qwen-v1/checkpoint-500 --reward_model_path outputs-rm-qwen-v1/checkpoint-500
        --template_name qwen --torch_dtype bfloat16 --train_file_dir ./data/finetune
        --validation_file_dir ./data/finetune --max_source_length 1024 --response_length 32
        --per_device_train_batch_size 1 --gradient_accumulation_steps 4 --gradient_checkpointing True --do_train
        --total_episodes 8 --output_dir outputs-ppo-qwen-v1 --missing_eos_penalty 1.0 --eval_strategy steps
        --eval_steps 100 --num_train_epochs 3 --report_to tensorboard --allow_template_change True""")
    )
    output = tmp_path / "outputs-ppo-qwen-v1"
    assert logged(output, "kl")[0] == 0.0 and lineage.read(output)["template"]["name"] == "qwen"
    assert (
        "--total_episodes 8 decides how long the run is; --num_train_epochs 3 has no effect" in capsys.readouterr().err
    )


def test_medicalgpts_command(sft, rm, data, tmp_path):
    """The flags of MedicalGPT's run_ppo.sh."""
    ppo_training.main(
        shlex.split(f"""
        --sft_model_path {sft} --reward_model_path {rm} --template_name qwen3 --torch_dtype bfloat16 --bf16
        --train_file_dir {data} --validation_file_dir {data} --max_source_length 256 --response_length 12
        --per_device_train_batch_size 1 --gradient_accumulation_steps 4 --gradient_checkpointing True --do_train
        --total_episodes 8 --output_dir {tmp_path}/out --missing_eos_penalty 1.0 --eval_strategy steps --eval_steps 100
        --num_train_epochs 3 --report_to tensorboard --save_steps 50 --save_total_limit 13 --learning_rate 1e-5""")
    )
    assert logged(tmp_path / "out", "kl")[0] == 0.0


def test_an_alarm_stops_the_run_and_leaves_the_last_checkpoint(sft, rm, data, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(Alarmed, match="the KL to the reference is .* above 0.01.* raise --kl_coef") as caught:
        ppo_training.main(flags(
            sft, data, output, "--reward_model_path", rm, "--alarm_kl", "0.01", "--total_episodes", "80", "--kl_coef",
            "0", "--learning_rate", "5e-2", "--max_grad_norm", "100", "--save_strategy", "steps", "--save_steps", "2",
        ))  # fmt: skip
    assert caught.value.status == 1
    assert lineage.damage(output / "checkpoint-2") is None and not (output / "lineage.json").exists()


def test_the_best_policy_is_taken(sft, rm, data, tmp_path):
    output = tmp_path / "out"
    ppo_training.main(flags(
        sft, data, output, "--reward_model_path", rm, "--val_size", "2", "--eval_strategy", "steps", "--eval_steps", 2,
        "--save_strategy", "steps", "--save_steps", "2", "--load_best_model_at_end", "True", "--learning_rate", "5e-2",
    ))  # fmt: skip
    state = json.loads((output / "trainer_state.json").read_text("utf-8"))
    evaluated = {row["step"]: row["eval_reward"] for row in reversed(history(output)) if "eval_reward" in row}
    assert state["best_metric"] == max(evaluated.values()), "greater rewards are better"
    assert same(output, output / Path(state["best_model_checkpoint"]).name)


def test_ctrl_c_leaves_checkpoints_and_says_so(sft, rm, data, tmp_path, monkeypatch, capsys):
    from bedside import errors
    from bedside.ppo.trainer import PPOTrainer

    first = PPOTrainer._new_rollout

    def interrupted(self, batch):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return first(self, batch)

    monkeypatch.setattr(PPOTrainer, "_new_rollout", interrupted)
    argv = flags(
        sft, data, tmp_path / "out", "--reward_model_path", rm, "--save_strategy", "steps", "--save_steps", "2"
    )
    with pytest.raises(SystemExit) as ended:
        errors.run_command(lambda: ppo_training.main(argv))
    assert ended.value.code == 130 and "stopped by Ctrl-C; what was saved so far is intact" in capsys.readouterr().err
    assert lineage.damage(tmp_path / "out/checkpoint-4") is None


def test_a_changed_run_is_not_resumed(run, sft, rm, data, tmp_path):
    shutil.copytree(run / "checkpoint-4", tmp_path / "out/checkpoint-4")
    argv = flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--validation_split_percentage", "25",
                 "--eval_strategy", "steps", "--resume_from_checkpoint", "True")  # fmt: skip
    for more, told in (
        (("--cliprange", "0.1"), "cliprange was 0.2 in that run and is 0.1 now"),
        (("--max_source_length", "90"), "longest_prompt was 100 in that run and is 90 now"),
        (("--kl_coef", "0.2"), "kl_coef was 0.05 in that run and is 0.2 now"),
        (("--reward_model_weight", "2"), "rewards was .*'weight': 1.0.* in that run and is .*'weight': 2.0"),
        (("--num_mini_batches", "2"), "num_mini_batches was 1 in that run and is 2 now"),
        (("--gradient_accumulation_steps", "4"), "rollout was 4 in that run and is 8 now"),
    ):
        kept = list(argv)
        if more[0] in kept:
            del kept[(at := kept.index(more[0])) : at + 2]
        with pytest.raises(ConfigError, match=told):
            ppo_training.main([*kept, *more])
