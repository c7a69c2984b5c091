"""What PPO starts from and is rewarded by, made once: adapter, merged model, reward models, tasks, one whole run."""

from pathlib import Path

import pytest
import torch

import merge_peft_adapter
import ppo_training
import reward_modeling
import supervised_finetuning
from tests.stages.files import write
from tests.stages.ppo.runs import REWARDS, flags, task_rows, trained


@pytest.fixture(scope="session")
def places(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ppo")


@pytest.fixture(scope="session")
def data(places) -> Path:
    (places / "toy.py").write_text(REWARDS, encoding="utf-8")
    return write(places / "tasks.jsonl", task_rows())


@pytest.fixture(scope="session")
def sft(places, tiny_model_dir) -> Path:
    rows = write(places / "sft.jsonl", [{"instruction": f"Cough {n}?", "output": "Drink water."} for n in range(8)])
    return trained(supervised_finetuning, tiny_model_dir, rows, places / "sft", "--template_name", "qwen3")


@pytest.fixture(scope="session")
def pairs(places) -> Path:
    rows = [{"prompt": f"Fever for {n} days?", "chosen": f"Rest {n} days.", "rejected": "No."} for n in range(8)]
    return write(places / "pairs.jsonl", rows)


@pytest.fixture(scope="session")
def rm(places, tiny_model_dir, pairs) -> Path:
    """A reward model on the policy's own base."""
    return trained(reward_modeling, tiny_model_dir, pairs, places / "rm", "--template_name", "qwen3")


@pytest.fixture(scope="session")
def run(places, sft, rm, data) -> Path:
    """PPO that continues the adapter, with a shared reward model, checkpoints, held-out tasks, TensorBoard."""
    output = places / "run"
    ppo_training.main(flags(
        sft, data, output, "--reward_model_path", rm, "--validation_split_percentage", "25", "--eval_strategy",
        "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "3", "--report_to", "tensorboard",
        "--plot_loss", "True", "--samples_kept", "3",
    ))  # fmt: skip
    return output


@pytest.fixture(scope="session")
def merged(places, sft) -> Path:
    merge_peft_adapter.main(["--peft_model_path", str(sft), "--output_dir", str(places / "merged")])
    return places / "merged"


@pytest.fixture(scope="session")
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
