"""Four roles on one frozen base. Imported late: it needs torch and peft.

    policy     base + adapter `default`   trained; begins as a copy of the SFT adapter, or new on a merged model
    reference  base + adapter `ref`       the frozen copy, or the bare base where the policy's adapter is new
    critic     base + adapter `critic`    trained, with a value head; begins as the reward model, or as the policy
    reward     base + adapter `reward`    frozen, with a score head; absent where rewards come from elsewhere

Memory is that of one base and four adapters. A role is chosen by `activate`, which leaves `requires_grad` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, PeftModelForCausalLM
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper, load_peft_weights, set_peft_model_state_dict

from bedside import adapters
from bedside.data.samples import IGNORED
from bedside.errors import ConfigError
from bedside.ppo.places import Places, places_of
from bedside.preference import logprobs
from bedside.reward_model import HEADS, exact_linear

# PEFT writes the adapter called `default` into a directory itself, and others below it: the policy is a plain adapter.
POLICY, REFERENCE, CRITIC, REWARD = "default", "ref", "critic", "reward"
TRAINED = (POLICY, CRITIC)
NOTHING = ""  # a role without an adapter: the base
_SHARED = "the roles of one base cannot share; merge it first, then start from the result"


class RoleModel(PeftModelForCausalLM):
    """A PEFT model that answers in four roles. Ranks, alphas and targets of its adapters may differ.

    `forward` is the only way in, so that autocast, DDP, ZeRO and FSDP see every use of it.
    """

    def __init__(self, base: Any, config: LoraConfig):
        width = base.get_input_embeddings().embedding_dim  # before PEFT may put something around it
        super().__init__(base, config, adapter_name=POLICY, autocast_adapter_dtype=True)
        self.value_head = scalar_head(width)
        self.score_head: torch.nn.Linear | None = None
        self.reference = NOTHING
        self.role = POLICY
        self._lora_layers: list[BaseTunerLayer] = []

    def settle(self) -> RoleModel:
        """After the last adapter is in: no dropout, float32 adapters, gradients for policy and critic alone."""
        for module in self.modules():
            _without_dropout(module)
            if isinstance(module, AuxiliaryTrainingWrapper):
                raise ConfigError(
                    f"an adapter trains whole modules or single rows of the embeddings, which {_SHARED}: "
                    "python merge_peft_adapter.py"
                )
        self._lora_layers = [module for module in self.modules() if isinstance(module, BaseTunerLayer)]
        adapters.in_float32(self)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_trained(name))
        device = self.get_input_embeddings().weight.device
        for head in (self.value_head, self.score_head):
            if head is not None:
                head.to(device)
        logprobs.install(self)
        self.activate(POLICY)
        return self

    def activate(self, role: str) -> None:
        """Make `role` the active adapter of every layer. PEFT's `set_adapter` would also freeze the other ones, which
        between a forward and its backward drops gradients without a word."""
        if role != self.role:
            for layer in self._lora_layers:
                layer._active_adapter = [role] if role else []
            self.role = role

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        starts: torch.Tensor | None = None,
        count: int = 0,
        want: str = "logits",
        temperature: float = 1.0,
        **more: Any,
    ) -> Any:
        """What `want` says of answers of up to `count` tokens, which begin at `starts` `(B,)` in rows of `input_ids`
        `(B, T)` that are padded on the right, as the mask says.

        - `policy`, `reference`: log-probabilities and entropies, each `(B, count)`, at `temperature`
        - `values`: the critic's values of the states before the answers' tokens, `(B, count)`
        - `scores`: the reward model's score at the last token of each row, `(B,)`
        - `update`: log-probabilities of the policy and values, in one forward
        - `logits`: the policy as a causal LM, with its own keywords (`more`)

        All of them are 0 behind an answer.
        """
        if want == "logits":
            self.activate(POLICY)
            return super().forward(input_ids, attention_mask, **more)
        rows = {"input_ids": input_ids, "attention_mask": attention_mask}
        if want == "scores":
            return self._scores(rows)
        at = places_of(attention_mask, starts, count)
        if want == "policy":
            return self._logps(POLICY, rows, at, temperature, entropy=True)
        if want == "reference":
            return self._logps(self.reference, rows, at, temperature, entropy=True)
        if want == "values":
            return self._values(rows, at)
        if want == "update":
            return self._logps(POLICY, rows, at, temperature), self._values(rows, at)
        raise ValueError(f"want={want!r}: expected policy, reference, values, scores, update or logits")

    def _logps(self, role: str, rows: dict, at: Places, temperature: float, entropy: bool = False) -> Any:
        self.activate(role)
        labels = rows["input_ids"].masked_fill(~at.answer, IGNORED)
        found = self.get_base_model()(
            **rows, labels=labels, token_logprobs=True, temperature=temperature, token_entropy=entropy
        )
        parts = [part.gather(1, at.before) * at.there for part in (found if entropy else (found,))]
        return tuple(parts) if entropy else parts[0]

    def _hidden(self, role: str, rows: dict) -> torch.Tensor:
        self.activate(role)
        return self.get_base_model().base_model(**rows, use_cache=False).last_hidden_state

    def _values(self, rows: dict, at: Places) -> torch.Tensor:
        hidden = self._hidden(CRITIC, rows)
        hidden = hidden.gather(1, at.before[:, :, None].expand(-1, -1, hidden.shape[-1]))
        return self.value_head(hidden).squeeze(-1) * at.there

    def _scores(self, rows: dict) -> torch.Tensor:
        last = rows["attention_mask"].sum(1) - 1
        hidden = self._hidden(REWARD, rows)
        return self.score_head(hidden[torch.arange(len(last), device=last.device), last]).squeeze(-1)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As the policy."""
        self.activate(POLICY)
        return super().generate(*args, **kwargs)

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict | None = None, **more: Any
    ) -> None:
        """Recompute activations in the backward pass, each layer under the role of its forward.

        Stock checkpointing replays a layer under whichever adapter is active by then: silently wrong gradients.
        """
        base = self.get_base_model()
        wanted = activation_checkpointing_kwargs or {"use_reentrant": False}
        if hasattr(base, "activation_checkpointing_enable"):  # transformers 5.23; 5.17 has the older name
            base.activation_checkpointing_enable(activation_checkpointing_kwargs=wanted, **more)
        else:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=wanted)
        base.enable_input_require_grads()
        for module in base.modules():
            if hasattr(module, "_gradient_checkpointing_func"):
                module._gradient_checkpointing_func = self._in_its_role(module._gradient_checkpointing_func)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict | None = None, **more: Any) -> None:
        """The older name of the same."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **more)

    def _in_its_role(self, checkpoint: Callable) -> Callable:
        def run(layer: Callable, *args: Any) -> Any:
            role = self.role

            def replay(*inputs: Any) -> Any:
                self.activate(role)
                return layer(*inputs)

            return checkpoint(replay, *args)

        return run


def _without_dropout(module: torch.nn.Module) -> None:
    """A rollout is scored and trained by the same function. Attention keeps its rate as a number of the module."""
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
    for name, value in list(vars(module).items()):
        if "drop" in name and isinstance(value, float):
            setattr(module, name, 0.0)


def scalar_head(width: int) -> torch.nn.Linear:
    """A head of one number, in float32 under autocast too, that begins at 0."""
    head = exact_linear()(width, 1, bias=False)
    torch.nn.init.zeros_(head.weight)
    return head


def is_trained(name: str) -> bool:
    """Whether a parameter of that name is the policy's or the critic's."""
    return name.startswith("value_head.") or any(f".{role}." in f".{name}." for role in TRAINED) and "lora_" in name


def of_policy(name: str) -> bool:
    """Whether a parameter of that name is the policy's."""
    return f".{POLICY}." in f".{name}." and "lora_" in name


def assemble(
    base: Any, policy: str | None, new_adapter: dict[str, Any] | None, reward: str | None, critic: str | None = None
) -> RoleModel:
    """The roles on a loaded causal LM. `policy` is an SFT adapter's directory (its frozen copy is the reference), or
    None for a new one of `adapters.lora_config`'s keywords (the base is the reference). `reward` is the directory of
    a reward adapter trained on the same base; the critic begins as `critic`, else as that, else as the policy.

    Raises ConfigError for adapters that cannot share a base or do not fit it.
    """
    config = LoraConfig.from_pretrained(policy) if policy else adapters.lora_config(**(new_adapter or {}))
    config.inference_mode = False
    try:
        model = RoleModel(base, config)
    except ValueError as error:
        raise ConfigError(f"--lora_target_modules: {error}") from None
    if policy:
        _load(model, policy, POLICY)
        _add(model, policy, REFERENCE)
        model.reference = REFERENCE
    if reward:
        _add(model, reward, REWARD)
        model.score_head = _score_head(reward)
    start = critic or reward
    if start:
        _add(model, start, CRITIC)
        if weight := _score_weight(start):
            model.value_head.weight.data.copy_(weight[0])
    else:
        model.add_adapter(CRITIC, copy.deepcopy(config))
        _copy_adapter(model, POLICY, CRITIC)
    return model.settle()


def _add(model: RoleModel, directory: str, name: str) -> None:
    """An adapter of its own shape, loaded. A reward model's head is no part of it here."""
    config = LoraConfig.from_pretrained(directory)
    config.task_type, config.inference_mode = "CAUSAL_LM", False
    config.modules_to_save = [module for module in config.modules_to_save or () if module not in HEADS] or None
    model.add_adapter(name, config)
    _load(model, directory, name)


def _load(model: RoleModel, directory: str, name: str) -> None:
    tensors = load_peft_weights(directory, device="cpu")
    tensors = {key: value for key, value in tensors.items() if key.split(".")[-2] not in HEADS}
    base = dict(model.named_parameters())
    for key in [key for key in tensors if "lora_" not in key]:  # PEFT stores embeddings beside an adapter of them
        own, stored = base.get(key), tensors.pop(key)
        if own is None or own.shape != stored.shape or not torch.equal(own.cpu(), stored.to(own.dtype)):
            raise ConfigError(
                f"{directory} holds {key.removeprefix('base_model.model.')} of its own, which {_SHARED}: python "
                f"merge_peft_adapter.py --peft_model_path {directory} --output_dir {directory.rstrip('/')}-merged"
            )
    try:
        result = set_peft_model_state_dict(model, tensors, adapter_name=name)
        lost = [key for key in result.unexpected_keys if "lora_" in key]
        lost += [key for key in result.missing_keys if f".{name}." in key]
    except RuntimeError as error:  # torch lists every tensor of another shape, a line each
        told = [line.strip().rstrip(".") for line in str(error).splitlines()]
        lost = [line.removeprefix("size mismatch for ") for line in told if line.startswith("size mismatch for ")]
        if not lost:
            raise
    if lost:
        raise ConfigError(f"{directory} does not fit this base: no place for {lost[0]}; all roles need the base that "
                          "they were trained on")  # fmt: skip


def _copy_adapter(model: RoleModel, source: str, target: str) -> None:
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if f".{target}." in name or name.endswith(f".{target}"):
            parameter.data.copy_(parameters[name.replace(f".{target}", f".{source}")].data)


def _score_weight(directory: str) -> list[torch.Tensor]:
    """The weight `(1, H)` of a reward adapter's head, in a list; empty for another adapter."""
    tensors = load_peft_weights(directory, device="cpu")
    return [value.float() for key, value in tensors.items() if key.split(".")[-2] in HEADS and key.endswith("weight")]


def _score_head(directory: str) -> torch.nn.Linear:
    found = _score_weight(directory)
    if not found:
        raise ConfigError(f"{directory}: a reward model without its head; train it with reward_modeling.py")
    if found[0].shape[0] != 1:
        raise ConfigError(f"{directory}: a classifier of {found[0].shape[0]} labels; a reward model gives one score")
    head = scalar_head(found[0].shape[1])
    head.weight.data.copy_(found[0])
    return head.requires_grad_(False)
