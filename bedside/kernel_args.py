"""The flags of speed and memory, which every training stage has; spelled and parsed as those of `args`."""

from dataclasses import dataclass

from bedside.args import flag


@dataclass
class KernelArguments:
    """Speed and memory on a GPU: fast paths are on where they apply, and a line of the log says where they are not."""

    kernels: bool = flag(True, "False turns every fast path off: the libraries' own layers, for comparison")
    fused_lora: bool = flag(True, "attention's linears with LoRA, rotary positions and heads in one step each")
    fused_mlp: bool = flag(True, "the MLP with LoRA in one step; its product is not kept for the backward pass")
    fused_norm: bool = flag(True, "RMSNorm, with the residual addition before it, in one kernel")
    flat_batches: bool = flag(True, "rows laid end to end: padding is not computed, packed rows need no mask")
    chunked_loss: bool = flag(
        True, "the gradient of a frozen head is made in the forward pass, a tile of tokens a time"
    )
    mlp_tile: int | None = flag(
        None, "tokens that a checkpointed MLP takes at a time (default: all); 4096 saves 1 GB at 7B and 16k tokens"
    )
    memory_budget_gb: str | None = flag(
        None,
        "checkpoint only as many layers as this needs: auto fills the card, a number is GB in all "
        "(default: as --gradient_checkpointing says)",
    )
    offload_checkpoints: bool = flag(
        False, "checkpoints wait in pinned host memory, copied beside the computation", ("use_unsloth_gc",)
    )
    embedding_on_host: bool = flag(False, "the frozen input embedding stays in host memory (1.1 GB less at 7B)")
    profile: int | None = flag(None, "profile this many steps: a table of where the time goes, and a trace")
