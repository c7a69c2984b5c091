"""Batches run as one flat row of real tokens. Imported late: it needs torch.

A batch `(B, T)` of rows of different lengths computes its padding in every layer; packed rows need a mask of all
tokens against all. Here the decoder's body takes such a batch as before, runs it as one row `(1, N)` of the tokens
that are there, each attending within its own document, and gives back `(B, T, H)`. What stands above the body (heads,
losses, trainers) does not notice. Generation, which needs a cache, goes the usual way.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from bedside import logs
from bedside.kernels import ends, varlen
from bedside.kernels.device import as_function

# Bodies that hand the bounds of documents down to their attention and mix tokens nowhere else.
FAMILIES = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")
_SWITCHED = "sdpa"  # the attention that this replaces; any other was asked for
_BOUNDS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")


class Layout(NamedTuple):
    """Where the tokens of a batch go: `index` `(N,)` says which of the B x T places each comes from (None: all of
    them, in order), `positions` `(1, N)` are theirs, `bounds` `(documents + 1,)` int32 says where documents begin and
    the row ends, `longest` is the longest document. `holes`: the mask has gaps between the tokens of a row."""

    index: torch.Tensor | None
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int
    holes: bool


def layout(
    shape: tuple[int, int], mask: torch.Tensor | None, positions: torch.Tensor | None, device: torch.device
) -> Layout | None:
    """The layout of a batch of `shape` `(B, T)`; None if no token is there.

    As transformers reads them: `mask` `(B, T)` is 0 on padding; without a mask, `positions` `(B, T)` or `(1, T)` that
    do not go up by 1 begin a new document within a row; with one, or without positions, each row is one document.
    """
    places = torch.arange(shape[1], device=device).expand(shape)
    kept = torch.ones(shape, dtype=torch.bool, device=device) if mask is None else mask.to(device).bool()
    starts = kept & (kept.cumsum(1) == 1)
    positions = places if positions is None else positions.expand(shape)
    if mask is None:
        starts[:, 1:] |= positions[:, 1:] != positions[:, :-1] + 1
    follows = kept.clone()
    follows[:, 1:] &= ~kept[:, :-1]  # true where a run of tokens begins
    kept, starts = kept.flatten(), starts.flatten()
    order = kept.cumsum(0) - 1  # of each token in the flat row
    begun = torch.where(starts, order, 0).cummax(0).values
    longest = torch.where(kept, order - begun + 1, 0).max()
    facts = torch.stack([kept.sum(), starts.sum(), longest, follows.sum(1).max()])
    tokens, documents, longest, runs = facts.tolist()  # the one time that the host waits for the device
    if tokens == 0:
        return None
    # What is not there goes to one place more, which is cut off: selecting by a mask would wait once more.
    index = torch.zeros(tokens + 1, dtype=torch.long, device=device)
    index = index.scatter_(0, torch.where(kept, order, tokens), torch.arange(len(kept), device=device))[:-1]
    bounds = torch.full((documents + 1,), tokens, device=device)
    bounds.scatter_(0, torch.where(starts, starts.cumsum(0) - 1, documents), torch.where(starts, order, tokens))
    whole = tokens == len(kept)
    flat = positions.reshape(1, -1)
    positions = flat if whole else flat[:, index]
    return Layout(None if whole else index, positions, bounds.int(), longest, runs > 1)


def spread(hidden: torch.Tensor, index: torch.Tensor | None, shape: tuple[int, int]) -> torch.Tensor:
    """Hidden states `(N, H)` back in their places, `(B, T, H)`, zeros where there is no token."""
    if index is None:
        return hidden.view(*shape, -1)
    places = hidden.new_zeros(shape[0] * shape[1], hidden.shape[-1])
    return places.index_copy_(0, index, hidden).view(*shape, -1)  # in place: the zeros are this function's own


def unwrapped(model: Any) -> Any:
    """The causal LM or classifier, out of a PEFT model around it."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def body_of(model: Any) -> torch.nn.Module:
    """The decoder's body of a causal LM or classifier, of a PEFT model around one too."""
    return unwrapped(model).base_model


def refusal(body: torch.nn.Module) -> str | None:
    """Why batches of this body are not run flat; None if they can be."""
    kind = type(body).__name__
    if kind not in FAMILIES:
        return f"not known to be safe for {kind} (known: {', '.join(FAMILIES)})"
    chosen = body.config._attn_implementation
    if chosen != _SWITCHED:
        return f"attention {chosen} was asked for, which stays ({_SWITCHED} would be replaced)"
    rope = str(getattr(body.rotary_emb, "rope_type", "default"))
    if "dynamic" in rope or rope == "longrope":
        return f"rotary positions of kind {rope} depend on the length of the padded batch"
    return None


def install(model: Any) -> str:
    """Run the training and scoring batches of `model` flat, in place; again does no harm. One line for people: that
    it is on, or why not.

    `model` is a causal LM, a classifier, or a PEFT model around one. The promise is equality: what a body gives for
    real tokens is what it would have given, up to rounding; at padding it gives zeros. A classifier's head sees the
    ends of rows only. A call that has a cache or asks for one, embeddings, layers' outputs, another mask or dropout
    inside attention is passed on as it is.
    """
    body = body_of(model)
    why = refusal(body)
    if why is not None:
        return f"flat batches: off: {why}; rows are padded"
    if not installed(body):
        varlen.register()
        for layer in body.layers:
            layer.self_attn.forward = types.MethodType(_by_bounds(as_function(layer.self_attn)), layer.self_attn)
        body.forward = types.MethodType(_flat_forward(as_function(body), type(body)), body)
        ends.install(unwrapped(model))
    return "flat batches: on: padding is not computed, packed rows attend by their bounds"


def installed(body: torch.nn.Module) -> bool:
    """Whether `install` has been here."""
    return getattr(body.forward, "runs_flat", False)


@contextmanager
def _attending_by_bounds(config: Any) -> Iterator[None]:
    """For the time of a flat forward: transformers makes no mask, and attention is `varlen.attention`."""
    before = config._attn_implementation
    config._attn_implementation = varlen.NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _by_bounds(original: Callable) -> Callable:
    """The forward of an attention layer that attends by the bounds it is given.

    The bounds decide, not the forward of the body around it: checkpointing computes a layer again in the backward
    pass, long after that has ended, but with the same arguments.
    """

    @functools.wraps(original)
    def forward(self, *args, **kwargs):
        if kwargs.get("cu_seq_lens_q") is None or self.config._attn_implementation not in (_SWITCHED, varlen.NAME):
            return original(self, *args, **kwargs)
        with _attending_by_bounds(self.config):
            return original(self, *args, **kwargs)

    return forward


def _flat_forward(original: Callable, kind: type) -> Callable:
    """The forward `original` of a body of a `kind`, run flat where it can be."""
    told: set[str] = set()

    @functools.wraps(kind.forward)
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        use_cache=None, **more,
    ):  # fmt: skip
        from transformers.modeling_outputs import BaseModelOutputWithPast

        if self.config._attn_implementation == _SWITCHED:
            more = {name: value for name, value in more.items() if name not in _BOUNDS}  # which it would not read
        given = {
            "input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids,
            "past_key_values": past_key_values, "inputs_embeds": inputs_embeds, "use_cache": use_cache,
        }  # fmt: skip
        made = None
        if _can_be_flat(self, more, told, **given):
            made = layout(tuple(input_ids.shape), attention_mask, position_ids, input_ids.device)
            made = None if made is not None and made.holes and _has_windows(self.config) else made
        if made is None:
            return original(self, **given, **more)
        ids = input_ids.reshape(1, -1) if made.index is None else input_ids.flatten()[made.index][None]
        bounds = dict(zip(_BOUNDS, (made.bounds, made.bounds, made.longest, made.longest), strict=True))
        with _attending_by_bounds(self.config):
            found = original(self, input_ids=ids, position_ids=made.positions, use_cache=False, **bounds, **more)
        hidden = spread(found.last_hidden_state[0], made.index, tuple(input_ids.shape))
        return BaseModelOutputWithPast(last_hidden_state=hidden)

    forward.runs_flat = True
    return forward


def _can_be_flat(
    body, more: dict, told: set[str], input_ids, attention_mask, position_ids, past_key_values, inputs_embeds,
    use_cache,
) -> bool:  # fmt: skip
    """Whether a call is one of training or scoring, with nothing that a flat row has no place for."""
    config = body.config
    if input_ids is None or inputs_embeds is not None or past_key_values is not None or input_ids.dim() != 2:
        return False
    if config._attn_implementation != _SWITCHED:  # changed since: that was somebody's wish
        return False
    replayed = body.training and getattr(body, "gradient_checkpointing", False)  # which keeps no cache
    if (config.use_cache if use_cache is None else use_cache) and not replayed:
        return False
    if attention_mask is not None and not _is_like(attention_mask, input_ids):
        return False
    if position_ids is not None and (position_ids.dim() != 2 or position_ids.shape[1] != input_ids.shape[1]):
        return False
    if any(_asked(more, config, f"output_{name}", False) for name in ("hidden_states", "attentions")):
        return False
    if not _asked(more, config, "return_dict", True) or _asked(more, config, "is_causal", True) is False:
        return False
    if any(isinstance(value, torch.Tensor) and value.dim() > 1 or name == "cache_position" and value is not None
           for name, value in more.items()):  # fmt: skip
        return False
    rate = max((layer.self_attn.attention_dropout for layer in body.layers), default=0.0) if body.training else 0.0
    if rate and "dropout" not in told:
        told.add("dropout")
        logs.info(f"flat batches: off while training: attention has dropout {rate:g}, which its kernel lacks")
    return not rate


def _asked(more: dict, config: Any, name: str, otherwise: bool) -> bool:
    """A wish of the call, or of the config where the call leaves it open (PEFT passes None)."""
    wish = more.get(name)
    return getattr(config, name, otherwise) if wish is None else wish


def _is_like(mask: Any, ids: torch.Tensor) -> bool:
    return isinstance(mask, torch.Tensor) and mask.shape == ids.shape


def _has_windows(config: Any) -> bool:
    return getattr(config, "sliding_window", None) is not None
