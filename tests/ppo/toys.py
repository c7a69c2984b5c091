"""Tiny models with SFT and reward adapters, questions of a few ids, and rewards that count tokens."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import torch
from datasets import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM

from bedside import adapters, models, reward_model
from bedside.ppo import roles, rollout
from bedside.ppo.config import PPOConfig
from bedside.ppo.scores import Scores
from bedside.ppo.trainer import PPOTrainer

PAD, STOP, OTHER_STOP, TOKEN, WORDS = 0, 1, 2, 7, 64
NF4 = {"bits": 4, "type": "nf4", "double": True}


class Files(NamedTuple):
    """Directories of a base, of an SFT adapter (rank 8) and of a reward adapter (rank 4, other layers)."""

    base: str
    sft: str
    reward: str


def shape(**more) -> Qwen3Config:
    """Two layers of width 64 and 64 words."""
    return Qwen3Config(**{
        "vocab_size": WORDS, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 128,
        "tie_word_embeddings": False, "eos_token_id": STOP, "pad_token_id": PAD, "bos_token_id": None, **more,
    })  # fmt: skip


def write_base(directory, seed: int = 0, **more) -> str:
    """A random base; its head is large enough for a LoRA below it to make a word certain."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(shape(**more))
    model.lm_head.weight.data *= 8
    model.save_pretrained(directory)
    return str(directory)


def noise(model, deviation: float = 0.05) -> None:
    """Random numbers where a new adapter has zeros, and in the head of a reward model."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_B" in name or "score" in name):
            parameter.data.normal_(0, deviation)


def write_adapter(base: str, directory, quantisation=None, seed: int = 1, **lora) -> str:
    """An adapter of a language model."""
    torch.manual_seed(seed)
    config = adapters.lora_config(**{"r": 8, "alpha": 16, "dropout": 0.05, **lora})
    model = adapters.attach(models.load_base(base, "float32", quantisation), config)
    noise(model)
    model.save_pretrained(directory)
    return str(directory)


def reward_lora(base: str, quantisation=None, labels: int = 1):
    """A reward model as an adapter of other rank and layers than the SFT adapter."""
    torch.manual_seed(2)
    lora = {"r": 4, "alpha": 8, "target_modules": "q_proj,v_proj,down_proj"}
    loaded = models.load_base(base, "float32", quantisation, num_labels=labels)
    model, _ = reward_model.start(loaded, None, "CAUSAL_LM", lora)
    noise(model)
    return model.eval()


def write(directory, quantisation=None) -> Files:
    """All three."""
    base = write_base(directory / "base")
    sft = write_adapter(base, directory / "sft", quantisation)
    reward_lora(base, quantisation).save_pretrained(directory / "reward")
    return Files(base, sft, str(directory / "reward"))


def assembled(
    files: Files, quantisation=None, dtype="float32", policy=True, reward=True, head=True
) -> roles.RoleModel:
    """Roles; with `head`, the value head holds random numbers, so that every adapter has a gradient."""
    base = models.load_base(files.base, dtype, quantisation)
    model = roles.assemble(base, files.sft if policy else None, {"r": 8, "dropout": 0.05},
                           files.reward if reward else None)  # fmt: skip
    if head:
        torch.manual_seed(3)
        model.value_head.weight.data.normal_(0, 0.1)
    return model


class Batch(NamedTuple):
    """What a role is asked: ids, their mask, where the answers start and the length of the longest."""

    ids: torch.Tensor
    mask: torch.Tensor
    starts: torch.Tensor
    count: int


def batch(rows: int = 4, prompt: int = 6, count: int = 8) -> Batch:
    """Rows padded on the right: the first has a short question, the second a short answer."""
    ids = torch.randint(3, WORDS, (rows, prompt + count), generator=torch.Generator().manual_seed(4))
    mask, starts = torch.ones_like(ids), torch.full((rows,), prompt)
    mask[0, -3:], mask[1, -2:], starts[0] = 0, 0, prompt - 3
    return Batch(ids * mask, mask, starts, count)


def gradients(model) -> dict[str, torch.Tensor | None]:
    """Of every trained parameter, taken off."""
    found = {name: part.grad for name, part in model.named_parameters() if part.requires_grad}
    model.zero_grad()
    return found


def update_loss(model, asked: Batch) -> torch.Tensor:
    """A loss of both trained roles, in one forward."""
    logps, values = model(*asked, "update")
    return logps.sum() + values.pow(2).sum()


def tasks(count: int = 16, length: int = 5) -> Dataset:
    """Questions of `length` to `length + 3` ids, told apart by their ids."""
    torch.manual_seed(5)
    return Dataset.from_list([
        {"prompt_ids": torch.randint(3, WORDS, (length + number % 4,)).tolist(), "length": length + number % 4,
         "prompt": json.dumps([{"role": "user", "content": f"question {number}"}]), "gold": "{}", "opened": False,
         "source": "toy.jsonl", "line": number + 1}
        for number in range(count)
    ])  # fmt: skip


def words(ids: list[int]) -> str:
    """Ids as text."""
    return " ".join(str(token) for token in ids)


def counting(value, name: str = "toy"):
    """A scorer of one reward: `value` of an answer's ids, its stop token left out."""

    def score(completions, golds, messages):
        return [{name: value([int(word) for word in one.text.split()])} for one in completions]

    return SimpleNamespace(names=[name], weights=[1.0], score=score)


def share(ids: list[int]) -> float:
    """Twice the share of TOKEN."""
    return 2.0 * ids.count(TOKEN) / max(1, len(ids))


def config(output, **flags) -> PPOConfig:
    """A rollout of 16 answers, two mini-batches of two micro-batches of four, two passes: four steps each."""
    return PPOConfig(**{
        "output_dir": str(output), "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "num_mini_batches": 2, "num_ppo_epochs": 2, "response_length": 8, "learning_rate": 2e-3, "kl_coef": 0.02,
        "critic_warmup_rollouts": 0, "lr_scheduler_type": "constant", "logging_steps": 1, "report_to": [],
        "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "remove_unused_columns": False, "seed": 7,
        "dataloader_pin_memory": False, "gradient_checkpointing": False, "weight_decay": 0.0, **flags,
    })  # fmt: skip


def trainer(model, output, value=share, scores=None, data=None, stops=(STOP,), kind=PPOTrainer, **flags) -> PPOTrainer:
    """A trainer of toy answers; `flags` are PPOConfig's, but for `eval_dataset`."""
    more = {"eval_dataset": flags.pop("eval_dataset", None)}
    made = config(output, **flags)
    worth = scores or Scores(None, counting(value), missing_eos_penalty=made.missing_eos_penalty)
    drawing = rollout.Drawing(made.response_length, made.temperature, tuple(stops), PAD)
    return kind(model, made, worth, drawing, words, train_dataset=tasks() if data is None else data, **more)


def rows_of(history: list[dict], name: str) -> list[float]:
    """One measure of every log row that has it."""
    return [row[name] for row in history if name in row]


def policy_of(model) -> dict[str, torch.Tensor]:
    """Copies of the policy's weights."""
    return {name: part.detach().clone() for name, part in model.named_parameters() if roles.of_policy(name)}


def critic_of(model) -> dict[str, torch.Tensor]:
    """Copies of the weights of the critic and its head."""
    return {
        name: part.detach().clone()
        for name, part in model.named_parameters()
        if part.requires_grad and not roles.of_policy(name)
    }


def alike(one: dict, other: dict) -> bool:
    """Whether two sets of tensors are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
