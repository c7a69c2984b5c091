"""Which layers are checkpointed, by a budget of memory, and whether their inputs wait on the host.

The numbers of a training do not change: a checkpointed layer computes the same again. So a run that goes on with more
or less memory may choose anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedside import launch, logs
from bedside.kernels import budget as budgets
from bedside.kernels import offload as offloads
from bedside.kernels.budget import Need, layers_whole, peak, problems
from bedside.kernels.kept import decoder_layers, measured

if TYPE_CHECKING:
    import torch

__all__ = ["decoder_layers", "layers_whole", "measured", "problems", "watch"]

_SEEN = 2  # steps after which the peak is read: the optimizer's states are there in the second


def _taken(trainer: Any) -> float:
    """Bytes that are there at every moment of a step: what is allocated now, gradients, states still to be made."""
    import torch

    trained = sum(p.nbytes for p in trainer.model.parameters() if p.requires_grad)
    states = budgets.optimizer_bytes(trainer.args.optim, trained)
    if trainer.optimizer is not None:
        there = [s for state in trainer.optimizer.state.values() for s in state.values() if torch.is_tensor(s)]
        states = max(0.0, states - sum(tensor.nbytes for tensor in there))
    if trainer.args.device.type == "cuda":
        allocated = torch.cuda.memory_allocated(trainer.args.device)
    else:
        allocated = sum(tensor.nbytes for tensor in (*trainer.model.parameters(), *trainer.model.buffers()))
    return allocated + trained + states


def _limit(wish: float | str, device: torch.device) -> float | None:
    """The budget in bytes; None for `auto` without a card."""
    import torch

    if wish != budgets.AUTO:
        return wish
    if device.type != "cuda":
        return None
    free = torch.cuda.mem_get_info(device)[0]
    held = torch.cuda.memory_allocated(device)  # what torch keeps beyond that can be used as well
    return held + budgets.SHARE * (free + torch.cuda.memory_reserved(device) - held)


def _need(trainer: Any, tokens: int, offload: bool, loss_a_token: float, mlp_tile: int | None) -> Need:
    """The need of this trainer's step. What a layer keeps is measured; the fused kernels' count stands in for it where
    one process cannot compute alone or the model does not take a plain row."""
    model, args = trainer.accelerator.unwrap_model(trainer.model), trainer.args
    shape = budgets.shape_of(model.config)
    width = 2 if args.bf16 or args.fp16 or "16" in str(model.dtype) else 4
    saved = again = None
    if not launch.cut_into_shards(trainer):
        try:
            saved, again = (measured(model, args.device, replayed) for replayed in (False, True))
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            why = " ".join(str(error).split())[:120]
            logs.warn(f"--memory_budget_gb: what a layer keeps could not be measured ({why}); it is taken for that of "
                      "the fused kernels")  # fmt: skip
    copies = (3 if mlp_tile else 2) if getattr(model, "is_quantized", False) else 0
    taken = _taken(trainer)
    return budgets.need(shape, tokens, taken, saved, again, offload, copies, loss_a_token, mlp_tile, width)


def choose(step: Need, limit: float, tokens: int) -> int:
    """How many layers stay whole within `limit` bytes, said in a line; a warning where even none of them fits."""
    whole = layers_whole(step, limit)
    at = f"micro-batches of up to {tokens:,} tokens"
    needs = peak(step, whole) / 1e9
    if needs > limit / 1e9:
        logs.warn(
            f"--memory_budget_gb: {needs:.1f} GB are needed for {at} with every layer checkpointed, {limit / 1e9:.1f} "
            "GB is the budget; lower --per_device_train_batch_size or --max_length, or add --offload_checkpoints True"
        )
    else:
        logs.info(
            f"memory: the last {whole} of {step.layers} layers are not checkpointed: {needs:.1f} of "
            f"{limit / 1e9:.1f} GB predicted at {at}"
        )
    return whole


def report(step: Need, whole: int, limit: float, share: float, device: torch.device) -> None:
    """After the first steps: the measured peak beside the predicted one at `share` of the largest micro-batch, which
    is the most that they had. The layers stay as they are: a change in mid-run would help nobody who compares runs."""
    import torch

    if device.type != "cuda":
        return
    found, told = torch.cuda.max_memory_allocated(device), peak(budgets.at(step, share), whole)
    full = peak(step, whole) + found - told
    text = (
        f"memory: measured peak {found / 1e9:.1f} GB, predicted {told / 1e9:.1f} GB at {100 * share:.0f} % of the "
        f"largest micro-batch ({100 * (told / found - 1):+.0f} %)"
    )
    if full > limit:
        logs.warn(f"{text}; a full one may need {full / 1e9:.1f} of {limit / 1e9:.1f} GB: if memory runs out, give "
                  f"--memory_budget_gb {max(1.0, (2 * limit - full) / 1e9):.1f}")  # fmt: skip
    else:
        logs.info(text)


def apply(layers: list[torch.nn.Module], whole: int, lane: offloads.Lane | None = None) -> None:
    """Checkpoint all but the last `whole` layers, each by the function it has; with a lane through the host."""
    replayed = len(layers) - whole
    for index, layer in enumerate(layers):
        layer.gradient_checkpointing = index < replayed
        if lane is not None and index < replayed:
            function = layer._gradient_checkpointing_func
            layer._gradient_checkpointing_func = offloads.through_host(function, lane, index == replayed - 1)


def _lane(device: torch.device) -> offloads.Lane | None:
    """The way to the host, where there is a card to leave."""
    if device.type != "cuda":
        logs.info("--offload_checkpoints: there is no GPU, so checkpoints are in host memory already; nothing to do")
        return None
    logs.info("checkpoints wait in pinned host memory, copied beside the computation")
    return offloads.Lane(device, offloads.CudaCopies(device), offloads.Buffers())


def watch(
    trainer: Any, wish: str | float | None, offload: bool, tokens: int, loss_a_token: float = 0.0,
    mlp_tile: int | None = None,
) -> None:  # fmt: skip
    """Choose at the start of training which layers are checkpointed, and tell after two steps how right that was.

    `wish` is --memory_budget_gb, `tokens` the largest micro-batch's (rows times length), `loss_a_token` the bytes of
    logits of a loss that holds them all at once, `mlp_tile` the tokens that a checkpointed MLP takes at a time.
    Without a wish and an offload the trainer is left alone.
    """
    import torch
    from transformers import TrainerCallback

    limit_of = budgets.wish(wish)
    if limit_of is None and not offload:
        return

    class Checkpointing(TrainerCallback):
        """Sets the layers once the trainer has switched checkpointing on, which it does just before."""

        step: Need | None = None

        def on_train_begin(self, args, state, control, model=None, **_):
            layers = decoder_layers(model)
            if not any(layer.gradient_checkpointing for layer in layers):
                logs.warn("no layer of this model is checkpointed: --memory_budget_gb and --offload_checkpoints do "
                          "nothing here")  # fmt: skip
                return
            limit = None if limit_of is None else _limit(limit_of, args.device)
            if limit_of == budgets.AUTO and limit is None:
                logs.info("--memory_budget_gb auto: there is no GPU to fill; every layer is checkpointed")
            lane = _lane(args.device) if offload else None
            whole = sum(not layer.gradient_checkpointing for layer in layers)
            if limit is not None:
                self.step, self.limit = _need(trainer, tokens, lane is not None, loss_a_token, mlp_tile), limit
                whole = choose(self.step, limit, tokens)
            apply(layers, whole, lane)
            if args.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(args.device)
            self.whole, self.seen, self.first = whole, _Largest(layers[0]), state.global_step

        def on_step_end(self, args, state, control, **_):
            if self.step is not None and state.global_step - self.first == _SEEN:
                report(self.step, self.whole, self.limit, self.seen.tokens / tokens, args.device)
                self.seen.remove()

    trainer.add_callback(Checkpointing())


class _Largest:
    """The most tokens that went through a layer at once."""

    def __init__(self, layer: torch.nn.Module):
        self.tokens = 0
        self._handle = layer.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: Any, given: tuple, named: dict) -> None:
        hidden = given[0] if given else named["hidden_states"]
        self.tokens = max(self.tokens, hidden.shape[:-1].numel())

    def remove(self) -> None:
        self._handle.remove()
