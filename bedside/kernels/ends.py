"""A classifier's head applied where its scores are read: at the end of each row. Imported late: it needs torch.

Of a reward model's scores at every token one a row is used. An exact head works in float32, so that the others cost a
float32 copy of all hidden states, and another one of their gradients.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import torch

from bedside.kernels.device import as_function


def install(classifier: Any) -> bool:
    """Let a decoder's sequence classifier score the ends of rows only, in place; again does no harm. False, and
    nothing changed, for a model of another kind."""
    from transformers.modeling_layers import GenericForSequenceClassification

    if not isinstance(classifier, GenericForSequenceClassification):
        return False
    if not getattr(classifier.forward, "scores_ends", False):
        classifier.forward = types.MethodType(_at_ends(as_function(classifier)), classifier)
    return True


def last_tokens(ids: torch.Tensor, pad: int) -> torch.Tensor:
    """The place of the last token of each row `(B, T)` that is not `pad`, `(B,)`; 0 in a row of padding."""
    places = torch.arange(ids.shape[1], device=ids.device)
    return (places * (ids != pad)).argmax(1)


def _at_ends(original: Callable) -> Callable:
    """The forward `original` with a head that sees `(B, H)`; what asks for more than scores goes through it."""

    @functools.wraps(original)
    def forward(self, input_ids=None, *args, **more):
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        pad = self.config.get_text_config().pad_token_id
        if input_ids is None or pad is None or args or not _scores_alone(self.config, more):
            return original(self, input_ids, *args, **more)
        found = self.base_model(input_ids, **{name: value for name, value in more.items() if name != "labels"})
        hidden = found.last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device)
        scores = self.score(hidden[rows, last_tokens(input_ids, pad).to(hidden.device)])
        return SequenceClassifierOutputWithPast(logits=scores, past_key_values=found.past_key_values)

    forward.scores_ends = True
    return forward


def _scores_alone(config: Any, more: dict) -> bool:
    """Whether a call asks for scores, and for nothing that the whole forward makes."""
    if more.get("labels") is not None or more.get("return_dict") is False:
        return False
    names = ("output_hidden_states", "output_attentions")
    return not any(getattr(config, name, False) if more.get(name) is None else more[name] for name in names)
