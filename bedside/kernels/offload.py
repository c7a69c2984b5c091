"""Checkpoints in pinned host memory: out beside the forward pass, back one layer ahead of the backward pass.

What a checkpointed layer keeps is its input, `(B, T, H)`. Its copy to the host runs on a stream of its own while the
next layers compute, and its copy back while the layer above is computed again, so that neither is waited for where
the bus is fast enough. The last checkpointed layer keeps its input on the card: it is the first one needed.

Order is kept by events alone. A tensor on the card is let go only after the compute stream waits for the copy that
reads or writes it; what is freed then may be reused at once, because that too happens on the compute stream.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_LEAVING = 2  # tensors on their way out before the compute stream waits for the oldest
SMALL = 1 << 20  # bytes below which a tensor stays where it is


class CudaCopies:
    """Copies on a stream beside the current one. `start` returns what `wait` makes the current stream wait for."""

    def __init__(self, device: torch.device):
        import torch

        self._cuda, self._device = torch.cuda, device
        self._side = torch.cuda.Stream(device)

    def start(self, to: torch.Tensor, source: torch.Tensor) -> Any:
        """Begin `to.copy_(source)` once the current stream has done what it was given so far."""
        self._side.wait_stream(self._cuda.current_stream(self._device))
        with self._cuda.stream(self._side):
            to.copy_(source, non_blocking=True)
            return self._side.record_event()

    def wait(self, done: Any) -> None:
        """The current stream goes on after that copy; the host does not wait."""
        self._cuda.current_stream(self._device).wait_event(done)


def pinned(size: int) -> torch.Tensor:
    """A buffer of `size` bytes in page-locked host memory."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


class Buffers:
    """Host buffers that go from layer to layer and from step to step: none is made once the longest batch was seen."""

    def __init__(self, make: Callable[[int], torch.Tensor] = pinned):
        self._make, self._free = make, []
        self.made = 0

    def take(self, size: int) -> torch.Tensor:
        """The smallest free buffer of at least `size` bytes; a new one in place of a smaller one if there is none."""
        fitting = [buffer for buffer in self._free if buffer.numel() >= size]
        if fitting:
            chosen = min(fitting, key=lambda buffer: buffer.numel())
            self._free = [buffer for buffer in self._free if buffer is not chosen]
            return chosen
        if self._free:
            self._free.remove(min(self._free, key=lambda buffer: buffer.numel()))
        self.made += 1
        return self._make(size)

    def give_back(self, buffer: torch.Tensor) -> None:
        """The buffer may be written again, by copies that start after those that use it."""
        self._free.append(buffer)


class Parked:
    """One input of a checkpointed layer, on the host, or on the card for the layer that needs it first."""

    def __init__(self, lane: Lane, tensor: torch.Tensor, previous: Parked | None, stays: bool):
        self.lane, self.like = lane, (tensor.shape, tensor.dtype, tensor.device)
        self.previous = weakref.ref(previous) if previous else lambda: None
        self.resident = tensor.detach() if stays else None
        self.buffer = None if stays else lane.buffers.take(tensor.nbytes)
        self.coming: tuple[torch.Tensor, Any] | None = None

    def on_host(self) -> torch.Tensor:
        """The tensor's place in its buffer, in its shape."""
        shape, dtype, _ = self.like
        return self.buffer[: shape.numel() * dtype.itemsize].view(dtype).view(shape)

    def __del__(self) -> None:
        if self.coming is not None:  # fetched for a backward pass that never came: still being written
            self.lane.copies.wait(self.coming[1])
        if self.buffer is not None:
            self.lane.buffers.give_back(self.buffer)


class Lane:
    """The way to the host and back of one device: the two hooks of `torch.autograd.graph.saved_tensors_hooks`."""

    def __init__(self, device: torch.device, copies: Any, buffers: Buffers, small: int = SMALL):
        import torch

        self.device = torch.empty(0, device=device).device  # with its index, as tensors name it
        self.copies, self.buffers, self._small = copies, buffers, small
        self._leaving: deque[tuple[torch.Tensor, int, Any]] = deque()
        self._newest: Any = lambda: None

    def pack(self, tensor: torch.Tensor, stays: bool = False) -> Any:
        """What autograd keeps in place of `tensor`: itself if it is small or elsewhere, else a `Parked`."""
        if tensor.device != self.device or tensor.nbytes < self._small or not tensor.is_contiguous():
            return tensor
        parked = Parked(self, tensor, self._newest(), stays)
        self._newest = weakref.ref(parked)
        if not stays:
            self._let_go(_LEAVING - 1)
            done = self.copies.start(parked.on_host(), tensor.detach())
            self._leaving.append((tensor.detach(), tensor._version, done))
        return parked

    def unpack(self, kept: Any) -> torch.Tensor:
        """The tensor again; the one that is needed after it starts its way back."""
        if not isinstance(kept, Parked):
            return kept
        self._let_go(0)
        tensor = kept.resident if kept.buffer is None else self._fetched(kept)
        before = kept.previous()
        if before is not None and before.buffer is not None and before.coming is None:
            before.coming = self._fetch(before)
        return tensor

    def _fetched(self, kept: Parked) -> torch.Tensor:
        tensor, done = kept.coming or self._fetch(kept)
        self.copies.wait(done)
        kept.coming = None
        return tensor

    def _fetch(self, kept: Parked) -> tuple[torch.Tensor, Any]:
        import torch

        shape, dtype, device = kept.like
        tensor = torch.empty(shape, dtype=dtype, device=device)
        return tensor, self.copies.start(tensor, kept.on_host())

    def _let_go(self, left: int) -> None:
        """Keep the `left` newest of the tensors on their way out; the rest are safe to free once waited for."""
        while len(self._leaving) > left:
            tensor, version, done = self._leaving.popleft()
            self.copies.wait(done)
            if tensor._version != version:
                raise RuntimeError(
                    "the input of a checkpointed layer was changed in place while it was copied to the host; train "
                    "with --offload_checkpoints False"
                )


def through_host(checkpoint: Callable[..., Any], lane: Lane, stays: bool) -> Callable[..., Any]:
    """A layer's checkpoint function, with what it keeps on the host (`stays`: on the card)."""
    from torch.autograd.graph import saved_tensors_hooks

    def run(*args: Any, **kwargs: Any) -> Any:
        with saved_tensors_hooks(lambda tensor: lane.pack(tensor, stays), lane.unpack):
            return checkpoint(*args, **kwargs)

    return run
