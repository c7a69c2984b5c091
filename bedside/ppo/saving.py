"""What a checkpoint of PPO holds: the policy as a plain adapter, critic and state beside it. Imported late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from bedside.ppo import roles

_STATE, _HEAD = "ppo_state.json", "value_head.safetensors"


class Kept:
    """Mixin to the left of a Trainer of a RoleModel, which has `kl_coef`."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """The policy as a plain adapter; a checkpoint has the critic, its head and the state of PPO beside it."""
        if not self.args.should_save:  # under ZeRO-3 the other processes hold empty shards
            return
        directory = Path(output_dir or self.args.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint = directory.name.startswith("checkpoint-")
        model = self.accelerator.unwrap_model(self.model)
        kept = [roles.POLICY, *([roles.CRITIC] if checkpoint else [])]
        model.save_pretrained(directory, selected_adapters=kept, state_dict=state_dict)
        if checkpoint:
            head = (state_dict or model.state_dict())["value_head.weight"]
            save_file({"weight": head.contiguous().cpu()}, directory / roles.CRITIC / _HEAD)
            (directory / _STATE).write_text(json.dumps({"kl_coef": self.kl_coef}) + "\n", encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        model = self.accelerator.unwrap_model(self.model if model is None else model)
        directory = Path(resume_from_checkpoint)
        for name, place in ((roles.POLICY, directory), (roles.CRITIC, directory / roles.CRITIC)):
            set_peft_model_state_dict(model, load_peft_weights(str(place), device="cpu"), adapter_name=name)
        head = load_file(directory / roles.CRITIC / _HEAD)["weight"]
        model.value_head.load_state_dict({"weight": _as_held(head, model.value_head.weight)})

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.server is not None:
            self.server.step = None  # other weights at the same step

    def train(self, resume_from_checkpoint: str | bool | None = None, **more: Any) -> Any:
        """Train; a resumed run goes on with the coefficient of the KL that it had. A server is left as it was."""
        if isinstance(resume_from_checkpoint, str):
            kept = json.loads((Path(resume_from_checkpoint) / _STATE).read_text(encoding="utf-8"))
            self.kl_coef = kept["kl_coef"]
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **more)
        finally:
            if self.server is not None:
                self.server.close()


def _as_held(whole: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`whole` as the parameter is held: as it is, or under FSDP cut into shards (for which PEFT sees itself)."""
    if not hasattr(parameter, "device_mesh"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)
