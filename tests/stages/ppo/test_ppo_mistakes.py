"""Every way to call ppo_training.py wrongly, and runs that end before their end.

sh run_tests.sh tests/stages/ppo/test_ppo_mistakes.py
"""

import shlex
import shutil
from pathlib import Path

import pytest

import ppo_training
from bedside import lineage
from bedside.errors import Alarmed, ConfigError, DataError, LineageError
from tests.stages.files import metrics, write
from tests.stages.ppo.runs import flags

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


def test_held_out_rows_that_are_trained_on_are_told(sft, rm, data, tmp_path, capsys):
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--validation_file_dir", data,
                            "--exam_samples", "2", "--total_episodes", "8"))  # fmt: skip
    assert "warning: validation files are training files" in capsys.readouterr().err
    assert metrics(tmp_path / "out")["heldout_tasks"] == 2


def test_an_alarm_stops_the_run_and_leaves_the_last_checkpoint(sft, rm, data, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(Alarmed, match="the KL to the reference is .* above 0.01.* raise --kl_coef") as caught:
        ppo_training.main(flags(
            sft, data, output, "--reward_model_path", rm, "--alarm_kl", "0.01", "--total_episodes", "80", "--kl_coef",
            "0", "--learning_rate", "5e-2", "--max_grad_norm", "100", "--save_strategy", "steps", "--save_steps", "2",
        ))  # fmt: skip
    assert caught.value.status == 1
    assert lineage.damage(output / "checkpoint-2") is None and not (output / "lineage.json").exists()


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
