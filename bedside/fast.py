"""The fast paths of a training run, put into a finished trainer: kernels, checkpoints, host memory, the profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bedside import kernels, logs, profiling
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments
from bedside.kernels import budget


def settle(wishes: KernelArguments, trainer: dict[str, Any]) -> None:
    """Check the flags of speed against the trainer's; ConfigError for what would do nothing or cannot be."""
    problems = budget.problems(wishes.memory_budget_gb, wishes.offload_checkpoints, trainer)
    if wishes.mlp_tile is not None and wishes.mlp_tile < 1:
        problems.append(f"--mlp_tile {wishes.mlp_tile}: expected a number of tokens, such as 4096")
    if wishes.profile is not None and wishes.profile < 0:
        problems.append(f"--profile {wishes.profile}: expected a number of steps, such as 3")
    if wishes.mlp_tile is not None and (why := _no_tiles(wishes, trainer)):
        problems.append(f"--mlp_tile {wishes.mlp_tile} cuts a checkpointed, fused MLP; drop it, or {why}")
    if problems:
        raise ConfigError(problems)
    if trainer.get("torch_compile") and wishes.kernels:
        logs.info("--torch_compile: the compiler gets the libraries' own layers; bedside's kernels are off")
        wishes.kernels = False
    if trainer.get("use_liger_kernel") and wishes.kernels and (wishes.fused_mlp or wishes.fused_norm):
        logs.info("--use_liger_kernel: liger's norms and MLP are used in place of bedside's own")
        wishes.fused_mlp = wishes.fused_norm = False
    if (trainer.get("entropy_coef") or trainer.get("use_adaptive_entropy")) and wishes.kernels and wishes.chunked_loss:
        logs.info("chunked loss: off: it has no gradient of the entropy, which this run trains; trl's is used")
        wishes.chunked_loss = False


def _no_tiles(wishes: KernelArguments, trainer: dict[str, Any]) -> str | None:
    """The flag by which no MLP is checkpointed and fused, so that there is nothing to cut into tiles; or None."""
    if not wishes.kernels or not wishes.fused_mlp:
        return "--kernels False" if not wishes.kernels else "--fused_mlp False"
    if trainer.get("gradient_checkpointing") in (False, "False", "false"):
        return "--gradient_checkpointing False"
    return next((f"--{name}" for name in ("torch_compile", "use_liger_kernel") if trainer.get(name)), None)


def prepare(trainer: Any, wishes: KernelArguments, output: Path) -> None:
    """Put what `wishes` ask for into the trainer's model, and into its reference model."""
    from bedside.kernels import checkpointing, host_embedding

    model = trainer.accelerator.unwrap_model(trainer.model)
    if wishes.kernels:
        reference = getattr(trainer, "ref_model", None)
        for one in (model, reference and trainer.accelerator.unwrap_model(reference)):
            if one is not None:
                kernels.install(
                    one, wishes.fused_lora, wishes.fused_mlp, wishes.fused_norm, wishes.chunked_loss,
                    wishes.flat_batches, wishes.mlp_tile,
                )  # fmt: skip
    if wishes.embedding_on_host:
        host_embedding.install(model)
    rows, length = trainer.args.per_device_train_batch_size, longest(trainer)
    checkpointing.watch(
        trainer, wishes.memory_budget_gb, wishes.offload_checkpoints, rows * length, mlp_tile=wishes.mlp_tile
    )
    profiling.watch(trainer, wishes.profile, output)


def longest(trainer: Any) -> int:
    """Tokens of the longest row that the trainer may see: both sides of a pair, or a question with its answer."""
    args = trainer.args
    answer = getattr(args, "response_length", None) or getattr(args, "max_completion_length", None)
    length = getattr(args, "max_length", None) or getattr(args, "max_seq_length", None)
    if answer:
        return answer + (getattr(args, "max_prompt_length", None) or 1024)
    sides = 2 if "chosen_ids" in (getattr(trainer.train_dataset, "column_names", None) or ()) else 1
    if length is None:
        model = trainer.accelerator.unwrap_model(trainer.model)
        length = model.config.get_text_config().max_position_embeddings
    return sides * length
