"""Linear layers with LoRA as one step: what a module computes now, and the product with its adapter, both ways.

Imported late: needs torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from bedside.kernels import nf4


class Projection(NamedTuple):
    """A frozen weight `(O, I)`, 4-bit with its `state` or dense, and the adapter that acts on it now, if one does:
    `a (r, I)`, `b (O, r)`, the update being `scale * b @ a`."""

    weight: torch.Tensor
    state: Any
    bias: torch.Tensor | None
    a: torch.Tensor | None
    b: torch.Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """`(out_features, in_features)`."""
        return tuple(self.state.shape) if self.state is not None else tuple(self.weight.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the products."""
        return self.state.dtype if self.state is not None else self.weight.dtype

    def dense(self, out: torch.Tensor | None = None) -> torch.Tensor:
        """The weight in 16 bit: itself, or dequantised into `out` (the shared buffer if None)."""
        if self.state is None:
            return self.weight
        out = nf4.shared(self.shape, self.dtype, self.weight.device) if out is None else out
        return nf4.dequantise(self.weight, self.state, out)


def why_not(module: torch.nn.Module) -> str | None:
    """Why this linear layer keeps its own forward, or None if its product can be fused."""
    base = getattr(module, "base_layer", module)
    if type(base) is not torch.nn.Linear and type(base).__name__ != "Linear4bit":  # LoRA's own is a Linear by name
        return f"{type(base).__module__.split('.')[0]}.{type(base).__name__}"
    if base.weight.requires_grad:
        return "its weight is trained"
    if base.bias is not None and base.bias.requires_grad:
        return "its bias is trained"
    if hasattr(base, "_hf_hook"):
        return "accelerate moves its weight"
    if base is module:
        return None
    if not hasattr(module, "lora_A"):
        return f"an adapter of another kind ({type(module).__module__.split('.')[-2]})"
    if any(getattr(layer, "p", 0.0) for layer in module.lora_dropout.values()):
        return "LoRA dropout"
    if any(getattr(module, "use_dora", {}).values()):
        return "DoRA"
    if getattr(module, "lora_variant", None):
        return f"LoRA variant {next(iter(module.lora_variant.values())).__class__.__name__}"
    if any(getattr(module, "lora_bias", {}).values()) or getattr(module, "fan_in_fan_out", False):
        return "LoRA with a bias" if not module.fan_in_fan_out else "transposed weight"
    if module.lora_embedding_A or any(layer.weight.dim() != 2 for layer in module.lora_A.values()):
        return "adapter of another shape"
    return None


def of(module: torch.nn.Module) -> Projection | None:
    """What `module` computes at this moment; None if several adapters act together, or one is merged in."""
    base = getattr(module, "base_layer", module)
    state = getattr(base.weight, "quant_state", None)
    if state is None and type(base).__name__ == "Linear4bit":
        return None  # not quantised yet: on its way to a device
    weight = base.weight.data if state is not None else base.weight
    if base is module or module.disable_adapters:
        return None if getattr(module, "merged", False) else Projection(weight, state, base.bias, None, None, 0.0)
    if module.merged:
        return None
    active = [name for name in module.active_adapters if name in module.lora_A]
    if len(active) > 1:
        return None
    if not active:
        return Projection(weight, state, base.bias, None, None, 0.0)
    a, b = module.lora_A[active[0]].weight, module.lora_B[active[0]].weight
    return Projection(weight, state, base.bias, a, b, float(module.scaling[active[0]]))


def computes(p: Projection, x: torch.Tensor) -> bool:
    """Whether `x` is multiplied in the precision of the fused product: under autocast a float32 weight is not."""
    if not torch.is_autocast_enabled(x.device.type):
        return x.dtype == p.dtype
    return torch.get_autocast_dtype(x.device.type) == p.dtype


def largest_rank(projections: Sequence[Projection]) -> int:
    """The rank that holds every adapter, at least 8."""
    return max(8, *(p.a.shape[0] for p in projections if p.a is not None), 0)


def stacked_a(projections: Sequence[Projection], rank: int) -> torch.Tensor:
    """`(P * rank, I)`: the `a` of each one under the other, zeros where a rank is smaller."""
    first = projections[0]
    if all(p.a is not None and p.a.shape[0] == rank for p in projections):
        return torch.cat([p.a.detach() for p in projections]).to(first.dtype)
    out = torch.zeros(len(projections) * rank, first.shape[1], dtype=first.dtype, device=first.weight.device)
    for index, p in enumerate(projections):
        if p.a is not None:
            out[index * rank : index * rank + p.a.shape[0]] = p.a.detach()
    return out


def block_b(projections: Sequence[Projection], rank: int) -> torch.Tensor:
    """`(sum of O, P * rank)`: the `scale * b` of each on the diagonal, zeros elsewhere."""
    first = projections[0]
    if len(projections) == 1 and first.b is not None and first.b.shape[1] == rank:
        return (first.b.detach() * first.scale).to(first.dtype)
    rows = sum(p.shape[0] for p in projections)
    out = torch.zeros(rows, len(projections) * rank, dtype=first.dtype, device=first.weight.device)
    start = 0
    for index, p in enumerate(projections):
        if p.b is not None:
            columns = slice(index * rank, index * rank + p.b.shape[1])
            out[start : start + p.shape[0], columns] = p.b.detach() * p.scale
        start += p.shape[0]
    return out


def gradient_a(p: Projection, found: torch.Tensor) -> torch.Tensor | None:
    """dL/da of an adapter from its padded `(rank, I)`, which has the scale already."""
    return None if p.a is None else found[: p.a.shape[0]].to(p.a.dtype)


def gradient_b(p: Projection, found: torch.Tensor) -> torch.Tensor | None:
    """dL/db of an adapter from its padded `(O, rank)`, without the scale."""
    return None if p.b is None else (found[:, : p.b.shape[1]].float() * p.scale).to(p.b.dtype)


class Group(NamedTuple):
    """Projections of one input with their adapters ready to multiply: `a (P * rank, I)` and `b (sum of O, P * rank)`,
    None where no adapter acts; `bias (sum of O)` or None."""

    parts: tuple[Projection, ...]
    rank: int
    a: torch.Tensor | None
    b: torch.Tensor | None
    bias: torch.Tensor | None

    @property
    def adapters(self) -> list[torch.Tensor | None]:
        """The parameters that get gradients: a, b of each projection."""
        return [tensor for p in self.parts for tensor in (p.a, p.b)]

    def weights(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """The columns of the output that each dense weight makes, with it: 4-bit ones in one piece in the shared
        buffer, one under the other. A weight is to be used before the next is asked for."""
        rows = [p.shape[0] for p in self.parts]
        bounds = [slice(sum(rows[:index]), sum(rows[: index + 1])) for index in range(len(rows))]
        first = self.parts[0]
        if any(p.state is None for p in self.parts):
            for at, p in zip(bounds, self.parts, strict=True):
                yield at, p.dense()
            return
        whole = nf4.shared((sum(rows), first.shape[1]), first.dtype, first.weight.device)
        for at, p in zip(bounds, self.parts, strict=True):
            p.dense(whole[at])
        yield slice(None), whole


def _bias(parts: Sequence[Projection]) -> torch.Tensor | None:
    if all(p.bias is None for p in parts):
        return None
    first = parts[0]
    zeros = [torch.zeros(p.shape[0], dtype=first.dtype, device=first.weight.device) for p in parts if p.bias is None]
    pieces = [(p.bias.detach() if p.bias is not None else zeros.pop(0)).to(first.dtype) for p in parts]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def group(parts: Sequence[Projection], rank: int | None = None, always: bool = False) -> Group:
    """Copies of the adapters in the precision of the products; zeros too where none acts, if `always`."""
    rank = largest_rank(parts) if rank is None else rank
    if not always and all(p.a is None for p in parts):
        return Group(tuple(parts), rank, None, None, _bias(parts))
    return Group(tuple(parts), rank, stacked_a(parts, rank), block_b(parts, rank), _bias(parts))


class PerForward:
    """What one module has prepared for one forward pass and its way back. The adapters cannot change in between, so
    the copies are made once, not again for the recomputation; `passes` counts the forward passes of the body."""

    passes = 0

    def __init__(self, linears: Sequence[torch.nn.Module], make: Callable[[list[Projection]], Any]):
        self._linears, self._make = tuple(linears), make
        self._key: Any = None
        self._made: Any = None

    def __deepcopy__(self, memo: dict) -> PerForward:
        return PerForward(copy.deepcopy(self._linears, memo), self._make)  # what was prepared refers to the weights

    def __call__(self) -> Any:
        """What `make` gives for the projections as they are now; None if one of them cannot be fused just now, or if
        they are of several precisions."""
        key = (PerForward.passes, *[_acting(linear) for linear in self._linears])
        if key != self._key:
            parts = [of(linear) for linear in self._linears]
            with torch.no_grad():
                can_be = None not in parts and len({p.dtype for p in parts}) == 1
                self._key, self._made = key, self._make(parts) if can_be else None
        return self._made


def _acting(module: torch.nn.Module) -> Any:
    """What tells one state of a LoRA layer from another between two forward passes: who acts, who is merged."""
    state = module.__dict__
    if "merged_adapters" not in state:
        return None
    names = state["_active_adapter"]
    return state["_disable_adapters"], names if isinstance(names, str) else tuple(names), len(state["merged_adapters"])


class SharedLora(torch.autograd.Function):
    """Several projections of one input, `(T, I)` to `(T, sum of O)`: q, k and v with their biases, or one alone.

    One product with the adapters' stacked `a` reads the input once, and one gradient of the input is accumulated.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, of_input: Group, *adapters: torch.Tensor | None):
        out = x.new_empty(x.shape[0], sum(p.shape[0] for p in of_input.parts))
        for columns, weight in of_input.weights():
            if of_input.bias is None:
                torch.mm(x, weight.T, out=out[:, columns])
            else:
                torch.addmm(of_input.bias[columns], x, weight.T, out=out[:, columns])
        low = None
        if of_input.a is not None:
            low = x @ of_input.a.T
            out.addmm_(low, of_input.b.T)
        ctx.group = of_input
        ctx.save_for_backward(x, low)
        return out

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        x, low = ctx.saved_tensors
        (parts, rank, a, b, _), d_out = ctx.group, d_out.contiguous()
        d_x = None
        for columns, weight in ctx.group.weights() if ctx.needs_input_grad[0] else ():
            part = d_out[:, columns]
            d_x = part @ weight if d_x is None else d_x.addmm_(part, weight)
        if low is None:
            return d_x, None, *[None] * (2 * len(parts))
        d_low = d_out @ b
        if d_x is not None:
            d_x.addmm_(d_low, a)
        d_a, d_b, gradients, start = d_low.T @ x, d_out.T @ low, [], 0
        for index, p in enumerate(parts):
            columns = slice(index * rank, (index + 1) * rank)
            gradients += [gradient_a(p, d_a[columns]), gradient_b(p, d_b[start : start + p.shape[0], columns])]
            start += p.shape[0]
        return d_x, None, *gradients


def shared_lora(x: torch.Tensor, of_input: Group) -> torch.Tensor:
    """`x (T, I)` through every projection of the group, side by side, with gradients for the adapters."""
    with torch.autocast(x.device.type, enabled=False):
        return SharedLora.apply(x.to(of_input.parts[0].dtype), of_input, *of_input.adapters)
