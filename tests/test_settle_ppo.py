"""What PPO and GRPO settle before anything is loaded: flags that nothing reads, lengths, what a resumed run compares.

sh run_tests.sh tests/test_settle_ppo.py
"""

import json
import shlex
from types import SimpleNamespace

import pytest

import grpo_training
import ppo_training
from bedside import cli, models, policy, settle_grpo, settle_ppo, settle_rollouts, settle_scoring
from bedside.errors import ConfigError
from bedside.lineage import Resolved, fingerprint, tokenizer_record
from bedside.ppo import sources
from bedside.stage_args import RewardArguments
from tests.ppo import toys

LOADING = {"cache_dir": None, "trust_remote_code": False}


def ppo(text: str):
    args = cli.parse(ppo_training.GROUPS, ["--output_dir", "out", *shlex.split(text)], "PPOConfig")
    settle_ppo.ppo(args)
    return args


def grpo(text: str):
    args = cli.parse(grpo_training.GROUPS, ["--output_dir", "out", *shlex.split(text)], "GroupConfig")
    settle_grpo.grpo(args)
    return args


IDLE = {
    "weights": ("--reward_model_path rm --reward_weights 1,2", "--reward_weights: .* with --reward_funcs only"),
    "judge": ("--judge_url http://x/v1", "--judge_url: has a meaning with --reward_funcs judge only; add it, or drop"),
    "horizon": ("--kl_horizon 10", "--kl_horizon: has a meaning with --adaptive_kl True only"),
    "target": ("--target_kl 3", "--target_kl: has a meaning with --adaptive_kl True only"),
    "server": ("--vllm_server_timeout 9", "--vllm_server_timeout: has a meaning with --use_vllm True only"),
    "clip": ("--reward_clip 3", "--reward_clip: has a meaning with --reward_model_path only"),
    "template": ("--reward_template_name qwen3", "--reward_template_name: .* with --reward_model_path only"),
    "length": ("--length_max 100", "--length_max: has a meaning with --reward_funcs length only"),
    "partial": ("--reward_funcs format --choice_partial 0.5", "--choice_partial: .* accuracy or choice only"),
    "aliases": ("--reward_funcs choice --alias_file a.jsonl", "--alias_file: .* accuracy or diagnosis only"),
    "options of no reward": ("--reward_model_path rm --length_min 9", "--length_min: .* --reward_funcs length only"),
}  # fmt: skip
OF_PPO = ("weights", "horizon", "target", "clip", "template", "options of no reward")


@pytest.mark.parametrize("name", IDLE)
def test_a_flag_that_nothing_reads_is_refused(name):
    text, told = IDLE[name]
    with pytest.raises(ConfigError, match=told):
        ppo(text)
    if name not in OF_PPO:
        with pytest.raises(ConfigError, match=told):
            grpo(text)


def test_the_same_flags_where_they_are_read():
    judged = "--reward_funcs judge,length,choice,diagnosis --judge_url http://x/v1 --judge_model m --length_min 9 "
    read = judged + "--choice_partial 0.5 --alias_file a.jsonl --reward_weights 1,1,1,1"
    grpo(read)
    args = ppo(read + " --reward_model_path rm --reward_clip 3 --adaptive_kl True --kl_horizon 10 --target_kl 3 "
               "--reward_template_name qwen3 --use_vllm True --vllm_server_timeout 9")  # fmt: skip
    assert settle_scoring.wished(args[RewardArguments]) == ["judge", "length", "choice", "diagnosis"]
    assert ppo("--reward_clip none --share_reward_base auto").trainer["reward_clip"] is None, (
        "off, and nothing to clip"
    )


def run_of(**more) -> SimpleNamespace:
    """What `align` reads of a config; a rollout of 4 answers."""
    flags = {
        "num_ppo_epochs": 2, "num_mini_batches": 1, "max_steps": -1, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2, "world_size": 1, "total_episodes": 40, "num_train_epochs": 1.0,
        "critic_warmup_rollouts": 1, "do_train": True, "load_best_model_at_end": False, "eval_strategy": "no",
        "save_strategy": "steps", "eval_steps": None, "save_steps": 500,
    }  # fmt: skip
    return SimpleNamespace(**(flags | more))


@pytest.mark.parametrize(
    ("epochs", "evaluated", "saved", "best", "wanted"),
    [
        (2, 3, 9, True, (4, 12)),  # 9 alone would become 10, where nothing was evaluated
        (2, 3, 9, False, (4, 10)),
        (4, 5, 15, True, (8, 16)),
        (2, 0.1, 0.3, True, (2, 6)),  # shares of 20 steps
    ],
)  # fmt: skip
def test_the_best_checkpoint_is_one_that_was_evaluated(epochs, evaluated, saved, best, wanted):
    config = run_of(
        num_ppo_epochs=epochs, eval_strategy="steps", eval_steps=evaluated, save_steps=saved,
        load_best_model_at_end=best,
    )  # fmt: skip
    settle_ppo.align(config, 100)
    assert (config.eval_steps, config.save_steps) == wanted


def test_a_run_that_ends_before_the_policy_is_trained():
    told = "has 1 rollout.* of 4 answers.* --critic_warmup_rollouts 1 .* more than --total_episodes 4, or"
    with pytest.raises(ConfigError, match=told):
        settle_ppo.align(run_of(total_episodes=4), 100)
    with pytest.raises(ConfigError, match="has 2 rollout.* more than --total_episodes 12"):
        settle_ppo.align(run_of(max_steps=3, critic_warmup_rollouts=3), 100)
    for short in ({"critic_warmup_rollouts": 0}, {"do_train": False}, {"total_episodes": 5}):
        settle_ppo.align(run_of(**{"total_episodes": 4, **short}), 100)


def test_what_of_the_rewards_a_resumed_run_compares(tmp_path):
    function, aliases, rubric = tmp_path / "mine.py", tmp_path / "names.jsonl", tmp_path / "rubric.txt"
    for path in (function, aliases, rubric):
        path.write_text("1\n", encoding="utf-8")
    own = RewardArguments(
        f"accuracy,judge,{function}:dose,tests.resume.toys:sums", alias_file=str(aliases), judge_model="m",
        judge_url="http://x/v1", judge_rubric=str(rubric), choice_partial=0.5,
    )  # fmt: skip
    found = settle_scoring.options(own)
    one = "4355a46b19d348dc"  # the SHA-256 of "1" and a line break
    sums = found.pop("sums")
    assert found == {
        "choice_partial": 0.5, "judge_model": "m", "alias_file": one, "judge_rubric": one, "dose": one
    }  # fmt: skip
    assert len(sums) == 16 and json.loads(json.dumps(found)) == found
    function.write_text("2\n", encoding="utf-8")
    assert settle_scoring.options(own)["dose"] != one
    assert settle_scoring.options(RewardArguments("format")) == {}, "options that nothing reads do not count"
    assert settle_scoring.options(RewardArguments("length,diagnosis")) == {
        "length_min": 32, "length_max": 512, "alias_file": None
    }  # fmt: skip


def test_what_of_ppo_a_resumed_run_compares():
    args = ppo("--reward_funcs format --enable_thinking False")
    config = toys.config("out", cliprange=0.1, vf_coef=0.3)
    found = settle_ppo.inputs(args, config, 77, {"format": 1.0}, None)
    assert (found["cliprange"], found["vf_coef"], found["longest_prompt"]) == (0.1, 0.3, 77)
    assert found.keys() >= {"cliprange_value", "critic_learning_rate", "target_kl", "kl_horizon"}
    assert found["enable_thinking"] is False and found["reward_options"] == {}
    assert json.loads(json.dumps(found)) == found


@pytest.fixture
def adapter(tiny_model_dir, tmp_path) -> str:
    """A reward adapter that no stage of ours has written."""
    toys.reward_lora(tiny_model_dir).save_pretrained(tmp_path / "rm")
    return str(tmp_path / "rm")


def policy_on(base) -> policy.Origin:
    return policy.Origin(Resolved(str(base)), str(base))


def test_a_reward_model_without_a_lineage_is_known_by_its_weights(adapter, tiny_model_dir):
    source = sources.find(adapter, policy_on(tiny_model_dir), "auto", LOADING)
    assert source.shared and source.record() == {"path": "rm", "id": fingerprint(adapter), "shared": True}
    assert source.id.startswith("q2:")


def shared(adapter: str, base, trained: dict | None) -> sources.Source:
    """A reward adapter on the policy's base, by what its lineage says of its tokenizer."""
    source = sources.find(adapter, policy_on(base), "auto", LOADING)
    source.origin.resolved.manifest = trained and {"tokenizer": trained, "template": {"name": "vicuna"}}
    return source


@pytest.fixture
def written(tiny_model_dir):
    """The policy's tokenizer with its template."""
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    models.install_template(tokenizer, "qwen3")
    return tokenizer


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"template": "f" * 32}, r"another template than the policy's \(vicuna\)"),
        ({"sha": "f" * 32}, "another tokenizer than the policy's"),
    ],
)  # fmt: skip
def test_a_reward_adapter_of_another_template_is_not_shared(adapter, tiny_model_dir, written, caplog, changed, told):
    trained = tokenizer_record(written)
    source = shared(adapter, tiny_model_dir, trained)
    assert sources.settle(source, written, "yes", None, {}) is source and "record" not in caplog.text
    other = shared(adapter, tiny_model_dir, trained | changed)
    with pytest.raises(ConfigError, match=f"--share_reward_base yes: .*rm was trained with {told}.*; use auto"):
        sources.settle(other, written, "yes", None, {})
    caplog.clear()
    apart = sources.settle(other, written, "auto", "vicuna", {})
    assert not apart.shared and apart.adapter is None and "it is loaded by itself" in caplog.text
    assert sources.settle(None, written, "auto", None, {}) is None


def test_a_reward_adapter_on_a_base_of_another_precision_is_told(adapter, tiny_model_dir, written, caplog):
    source = shared(adapter, tiny_model_dir, tokenizer_record(written))
    caplog.clear()
    sources.warn_of_precision(source, None)
    assert not caplog.text
    sources.warn_of_precision(source, {"bits": 4})
    assert "rm was trained on a base that was unquantised and scores on one that is 4-bit" in caplog.text


def test_a_template_that_no_reward_model_reads(adapter, tiny_model_dir, written, caplog):
    source = shared(adapter, tiny_model_dir, None)
    with pytest.raises(ConfigError, match="--reward_template_name vicuna: .* reads the policy's template; drop"):
        sources.settle(source, written, "auto", "vicuna", {})
    assert "rm has no record of its tokenizer and template" in caplog.text
    apart = sources.find(adapter, policy_on(tiny_model_dir), "no", LOADING)
    assert sources.settle(apart, written, "no", "vicuna", {}) == apart


def test_a_base_with_code_of_its_authors_is_asked_for_it_in_a_sentence(tmp_path):
    auto = {"auto_map": {"AutoConfig": "configuration_mine.Mine"}, "model_type": "mine"}
    (tmp_path / "config.json").write_text(json.dumps(auto), encoding="utf-8")
    with pytest.raises(ConfigError, match="read that code, then add --trust_remote_code True"):
        settle_rollouts.context_of(policy_on(tmp_path), LOADING)


def test_the_context_of_a_base(tiny_model_dir):
    assert settle_rollouts.context_of(policy_on(tiny_model_dir), LOADING) == 512
