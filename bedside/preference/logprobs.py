"""Log-probabilities of given tokens without the logits of a whole batch.

The logits of four pairs of 2,048 tokens over 152,000 words are 10 GB in float32. Here the head is applied to a few
hundred positions at a time, only where a label is trained, and again in the backward pass; what lies in memory in
between is one row of hidden states per trained token. The module is imported late: it needs torch.
"""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from bedside.data.samples import IGNORED
from bedside.errors import ConfigError

_ELEMENTS = 1 << 25  # logits that exist at a time: 128 MiB in float32
_AGREES = 0.25  # nats by which bfloat16 may differ from the model's own logits; a forgotten scale differs by more


class LogitRule(NamedTuple):
    """What a model does to `head(hidden)`: times `scale`, then `softcap * tanh(. / softcap)` (Gemma 2); what is
    sampled from it at a `temperature` is divided by that."""

    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits that are meant, same shape; may change `logits` in place if it needs no gradient."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits if self.temperature == 1.0 else logits / self.temperature


def rule_of(config: Any) -> LogitRule:
    """The rule of a model's config: Cohere and Falcon-H1 multiply, Granite divides, Gemma 2 caps."""
    config = config.get_text_config()
    scale = next(
        (
            value
            for name in ("logit_scale", "output_multiplier", "lm_head_multiplier")
            if (value := getattr(config, name, None)) is not None
        ),
        None,
    )
    divisor = getattr(config, "logits_scaling", None)
    if scale is None and divisor is not None:
        scale = divisor if config.model_type == "hyperclovax" else 1 / divisor
    return LogitRule(1.0 if scale is None else float(scale), getattr(config, "final_logit_softcapping", None))


class TokenLogProbs(torch.autograd.Function):
    """`log softmax(rule(hidden @ weight.T + bias))[target]`: `(N, H), (V, H), (V,), (N,) -> (N,)` in float32, and the
    entropy of that distribution, `(N,)` in nats and without gradient, where asked for (else empty).

    Products are taken in `dtype` and everything else in float32 (float64 stays). Saved for the backward pass are the
    inputs and one number a row; the logits are computed again, `rows` rows at a time.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, rule, dtype, rows, with_entropy=False):
        """The log-probabilities and the entropies."""
        found, norms, entropies = [], [], [hidden.new_empty(0, dtype=torch.float32)]
        cast = weight.to(dtype)
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True):
            logits = rule(_product(h.to(dtype), cast, bias))
            norms.append(torch.logsumexp(logits, -1))
            found.append(logits.gather(-1, t[:, None]).squeeze(-1) - norms[-1])
            if with_entropy:
                entropies.append(_entropy(logits, norms[-1]))
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(norms))
        ctx.rule, ctx.dtype, ctx.rows = rule, dtype, rows
        entropy = torch.cat(entropies)
        ctx.mark_non_differentiable(entropy)
        return torch.cat(found), entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, _):
        """Gradients for hidden states, weight and bias, as far as they are wanted."""
        hidden, weight, bias, targets, norms = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        cast, wide = weight.to(ctx.dtype), norms.dtype
        of_hidden = torch.empty_like(hidden) if wants_hidden else None
        of_weight = torch.zeros_like(weight, dtype=wide) if wants_weight else None
        of_bias = torch.zeros_like(bias, dtype=wide) if wants_bias else None
        for start in range(0, len(hidden), ctx.rows):
            piece = slice(start, start + ctx.rows)
            h = hidden[piece].to(ctx.dtype)
            delta = _logit_gradient(h, cast, bias, targets[piece], norms[piece], grad[piece].to(wide), ctx.rule)
            if wants_bias:
                of_bias += delta.sum(0)
            delta = delta.to(ctx.dtype)
            if wants_hidden:
                of_hidden[piece] = (delta @ cast).to(hidden.dtype)
            if wants_weight:
                of_weight += delta.t() @ h
        if wants_weight:
            of_weight = of_weight.to(weight.dtype)
        return of_hidden, of_weight, of_bias if of_bias is None else of_bias.to(bias.dtype), *[None] * 5


def _product(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`hidden @ weight.T + bias` as the module would compute it, `(N, V)`, then in float32."""
    logits = torch.nn.functional.linear(hidden, weight, None if bias is None else bias.to(weight.dtype))
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _logit_gradient(h, weight, bias, targets, norms, grad, rule: LogitRule) -> torch.Tensor:
    """d/d(head output) of `sum(grad * log p(target))`, `(n, V)`: `grad * (onehot - softmax)` through the rule."""
    logits = rule(_product(h, weight, bias))
    slope = None if rule.softcap is None else 1 - (logits * (rule.temperature / rule.softcap)) ** 2
    delta = logits.sub_(norms[:, None]).exp_().neg_()
    delta.scatter_add_(-1, targets[:, None], torch.ones_like(norms)[:, None])
    delta.mul_((grad * (rule.scale / rule.temperature))[:, None])
    return delta if slope is None else delta.mul_(slope)


def _entropy(logits: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """`-sum p log p` of each row of logits `(n, V)` with their log-sum-exp `(n,)`."""
    return norms - (torch.exp(logits - norms[:, None]) * logits).sum(-1)


def _computed_in(hidden: torch.Tensor, weight: torch.Tensor) -> torch.dtype:
    """The precision in which a linear layer would multiply here: autocast's, or the weight's."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and weight.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return weight.dtype


def _linear_forward(self: torch.nn.Linear, hidden: torch.Tensor, targets=None, rule=None, entropy=False) -> Any:
    """A linear layer's forward that, given `targets`, returns their log-probabilities and (if asked for) entropies.

    It is the layer's own forward because hooks fire only through the layer's call: ZeRO-3 and FSDP gather its weight.
    """
    if targets is None:
        return torch.nn.functional.linear(hidden, self.weight, self.bias)
    dtype, rows = _computed_in(hidden, self.weight), _rows(self.out_features)
    hidden, targets = hidden.to(self.weight.device), targets.to(self.weight.device)
    with torch.autocast(hidden.device.type, enabled=False):
        return TokenLogProbs.apply(hidden, self.weight, self.bias, targets, rule, dtype, rows, entropy)


def _rows(vocabulary: int) -> int:
    return max(1, _ELEMENTS // vocabulary)


def _through_any_head(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, rule: LogitRule, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for a head with an adapter, or of another kind: plain autograd, piece by piece, recomputed."""

    def piece(h: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = head(h)
        logits = rule(logits.to(torch.promote_types(logits.dtype, torch.float32)))
        norms = torch.logsumexp(logits, -1)
        found = logits.gather(-1, t[:, None]).squeeze(-1) - norms
        return found, _entropy(logits.detach(), norms.detach())

    found = [
        checkpoint(piece, h, t, use_reentrant=False) if torch.is_grad_enabled() else piece(h, t)
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat([logps for logps, _ in found]), torch.cat([entropy for _, entropy in found])


def _plain_linears(head: torch.nn.Module) -> list[torch.nn.Linear]:
    """The linear layers of a head that is one, or PEFT's choice among copies of one; else none.

    A quantised layer is a subclass, and a layer with an adapter has parts: both take the other way.
    """
    from peft.utils import ModulesToSaveWrapper

    if type(head) is ModulesToSaveWrapper:
        layers = [head.original_module, *head.modules_to_save.values()]
    else:
        layers = [head]
    return layers if all(type(layer) is torch.nn.Linear for layer in layers) else []


def install(model: Any) -> Any:
    """Let a causal LM's forward return log-probabilities: `model(..., labels=labels, token_logprobs=True)`.

    It then returns `(B, T - 1)`: log p of `labels[:, 1:]` given what stands before, 0 where a label is -100. Logits
    are divided by `temperature`. With `token_entropy=True` it returns that and the entropies, `(B, T - 1)`. Without
    `token_logprobs` the forward is the model's own. `model` is the causal LM or a PEFT model around one, not yet
    wrapped for several processes; it is the forward that is replaced, because wrappers act on nothing else.
    """
    from peft import PeftModel

    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    if causal.base_model is causal or causal.get_output_embeddings() is None:
        raise ConfigError(f"{type(causal).__name__} has no separate head for its vocabulary, which this loss needs")
    for layer in _plain_linears(causal.get_output_embeddings()):
        layer.forward = types.MethodType(_linear_forward, layer)
    causal.forward = types.MethodType(_with_logprobs(causal.forward, type(causal), rule_of(causal.config)), causal)
    return model


def _with_logprobs(original: Callable, kind: type, rule: LogitRule) -> Callable:
    """The forward `original` of a `kind` with the argument `token_logprobs`; generation reads its signature."""

    @functools.wraps(kind.forward)
    def forward(
        self, *args, token_logprobs: bool = False, labels=None, temperature: float = 1.0, token_entropy: bool = False,
        **kwargs,
    ):  # fmt: skip
        if not token_logprobs:
            return original(*args, **kwargs, **({} if labels is None else {"labels": labels}))
        # Backbone and head are looked up now: PEFT and the launchers replace them later.
        hidden = self.base_model(*args, **kwargs, use_cache=False).last_hidden_state[:, :-1]
        head, targets = self.get_output_embeddings(), labels[:, 1:].to(hidden.device)
        kept, at = targets != IGNORED, rule._replace(temperature=temperature)
        if _plain_linears(head):
            found = head(hidden[kept], targets=targets[kept], rule=at, entropy=token_entropy)
        else:
            rows = _rows(self.config.get_text_config().vocab_size)
            found = _through_any_head(head, hidden[kept], targets[kept], at, rows)
        # Scattered, so that a batch in which nothing is trained still has a gradient: zero.
        placed = [_scattered(values.to(hidden.device), kept) for values in found[: 1 + token_entropy]]
        return tuple(placed) if token_entropy else placed[0]

    return forward


def _scattered(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    return torch.zeros(kept.shape, dtype=values.dtype, device=kept.device).masked_scatter(kept, values)


def check(model: Any) -> None:
    """ConfigError unless `install`ed log-probabilities are those of the model's own logits, on eight tokens."""
    from peft import PeftModel

    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    was_training = model.training
    model.eval()
    ids = torch.arange(8, device=next(causal.get_input_embeddings().parameters()).device)[None]
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1].float()
        wanted = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None].to(logits.device)).squeeze(-1)
        found = model(input_ids=ids, labels=ids, token_logprobs=True).to(logits.device)
    model.train(was_training)
    if not (found - wanted).abs().mean() < _AGREES:
        raise ConfigError(
            f"{type(causal).__name__} does something to its logits that bedside does not know; ORPO and SimPO are not "
            "offered for it, dpo_training.py is"
        )
