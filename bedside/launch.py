"""What a launcher asked for (torchrun, accelerate, DeepSpeed): checked against the flags, and told to the trainer.

Sharding runs on a machine without GPUs as well, through gloo: that is how tests and laptops try a command out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.errors import ConfigError, LineageError, UserError

_TRUE = ("1", "true", "yes")


def _set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in _TRUE


def kind(trainer: dict[str, Any]) -> str:
    """`fsdp`, `zero1`, `zero2`, `zero3`, `ddp` or `single`, from the launcher's environment, --deepspeed, --fsdp."""
    if trainer.get("deepspeed") or _set("ACCELERATE_USE_DEEPSPEED"):
        return f"zero{_zero_stage(trainer.get('deepspeed') or os.environ.get('ACCELERATE_DEEPSPEED_CONFIG_FILE'))}"
    if trainer.get("fsdp") or _set("ACCELERATE_USE_FSDP"):
        return "fsdp"
    return "ddp" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "single"


def _zero_stage(config: Any) -> int:
    """DeepSpeed's stage, from its JSON file (or what is in it) or else from accelerate's variable."""
    if isinstance(config, str) and Path(config).is_file():
        try:
            config = json.loads(Path(config).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(
                f"--deepspeed {config}: not JSON ({error}); expected a DeepSpeed configuration"
            ) from None
    if isinstance(config, dict):
        return int(config.get("zero_optimization", {}).get("stage", 0))
    return int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"))


def problems(trainer: dict[str, Any], quantised: bool, adapter_start: str, eval_file: str | None) -> list[str]:
    """What of these flags cannot work under the launcher; each with the one that can."""
    how, found = kind(trainer), []
    if quantised and how == "zero3":
        found.append(
            "a quantised base under ZeRO-3: it cannot be cut into shards there; use --config_file "
            "accelerate/fsdp2.yaml, or accelerate/zero2.yaml (the base whole on each GPU)"
        )
    if adapter_start.startswith(("pissa", "olora")) and how == "zero3":
        found.append(
            f"--init_lora_weights {adapter_start} under ZeRO-3: it is computed from whole weights, which are shards "
            "there; use accelerate/zero2.yaml or accelerate/fsdp2.yaml"
        )
    if eval_file and how in ("fsdp", "zero3"):
        found.append(
            f"--eval_file {eval_file} under {how}: one process cannot generate from a sharded model; drop it, and ask "
            "the questions afterwards: python inference.py --lora_model OUTPUT_DIR --data_file QUESTIONS"
        )
    if how in ("fsdp", "zero1", "zero2") and not trainer.get("do_train"):
        found.append(f"an evaluation without training under {how}: run it with accelerate/ddp.yaml or torchrun")
    return found


def cut_into_shards(trainer: Any) -> bool:
    """Whether one process holds a part of each weight only (FSDP, ZeRO-3), so that it cannot compute alone."""
    plugin = trainer.accelerator.state.deepspeed_plugin if trainer.is_deepspeed_enabled else None
    return trainer.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)


def on_cpu(trainer: dict[str, Any]) -> None:
    """Settle the trainer's flags, in place, for a machine without GPUs.

    accelerate takes use_cpu for "do not shard" and would silently copy the model whole, so sharding does without it.
    """
    import torch

    sharded = kind(trainer) not in ("ddp", "single")
    trainer["use_cpu"] = not sharded
    if sharded and torch.cuda.is_available():
        raise ConfigError(f"--use_cpu True under {kind(trainer)}: hide the GPUs instead, as CUDA_VISIBLE_DEVICES= ...")
    if sharded:
        trainer["ddp_backend"], trainer["dataloader_pin_memory"] = "gloo", False
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if sharded and kind(trainer) != "fsdp":
        from deepspeed import ops

        # It would compile an operator for shared memory at its first use, which needs a compiler; gloo does the same.
        ops.__compatible_ops__["deepspeed_shm_comm"] = False


def settle_processes(config: Any, trainer: dict[str, Any]) -> None:
    """Once the trainer's config has set torch.distributed up: other ranks are quiet, and a CPU shards like a GPU."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType
    from transformers.utils import logging

    if config.process_index > 0:
        logging.set_verbosity_error()
    if kind(trainer) == "fsdp" and config.device.type == "cpu" and config.world_size > 1:
        # accelerate shards on the kinds of device that it lists, and the CPU is not among them.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def once(decide: Callable[[], Any]) -> Any:
    """What `decide` returns, or the UserError it raises, on rank 0: the same in every process, decided in one.

    For decisions that look at files which the decision itself moves.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return decide()
    outcome: list[Any] = [None, None]
    if logs.rank() == 0:
        try:
            outcome[0] = decide()
        except UserError as error:
            outcome[1] = (isinstance(error, LineageError), str(error))
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        lineage, text = outcome[1]
        raise LineageError(text) if lineage else ConfigError(text.splitlines())
    return outcome[0]
