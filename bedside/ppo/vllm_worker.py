"""What a vLLM worker learns for PPO: to take the trainer's weights from files, and to say which it holds.

vLLM imports this by name (`--worker-extension-cls bedside.ppo.vllm_worker.WeightReceiver`) in its own environment, so
nothing else of bedside is imported here. The methods are called through /collective_rpc, on every worker.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MANIFEST = "manifest.json"
# What two models must share for the weights of one to fit the other.
_SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads",
          "num_key_value_heads", "tie_word_embeddings")  # fmt: skip


class WeightReceiver:
    """Mixed into vLLM's worker. Every name begins with `bedside_`, so that none of the worker's is hidden."""

    def bedside_holds(self) -> dict[str, Any]:
        """Label of the weights that were received (None: none yet), whether a load broke off in the middle, where the
        model lies, its device, dtype and shape, and the largest rank of an adapter (None: it takes no adapters)."""
        config = self.model_config.hf_text_config
        return {
            "label": getattr(self, "_bedside_label", None),
            "broken": getattr(self, "_bedside_broken", False),
            "model": str(self.model_config.model),
            "device": self.device.type,
            "dtype": str(self.model_config.dtype).removeprefix("torch."),
            "lora_rank": self.lora_config.max_lora_rank if self.lora_config else None,
            "shape": {name: getattr(config, name, None) for name in _SHAPE},
        }

    def bedside_receive(self, directory: str, label: str) -> dict[str, Any]:
        """Replace all weights by those of `directory`, which the trainer has finished writing; returns what is held.

        A directory that is not the one meant, or is damaged, raises before anything is replaced.
        """
        files = _checked(Path(directory), label)
        self._bedside_label, self._bedside_broken = None, True
        self.model_runner.reload_weights(weights_iterator=_tensors(files))
        self._bedside_label, self._bedside_broken = label, False
        return self.bedside_holds()


def _checked(directory: Path, label: str) -> list[Path]:
    """The files of the manifest; ValueError if it is another version's, or a file has not the size it was written."""
    manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
    if manifest["label"] != label:
        raise ValueError(f"{directory}: holds weights {manifest['label']}, asked for {label}")
    for name, size in manifest["files"].items():
        if "/" in name or (directory / name).stat().st_size != size:
            raise ValueError(f"{directory}/{name}: expected a file of {size} bytes")
    return [directory / name for name in manifest["files"]]


def _tensors(files: list[Path]) -> Iterator[tuple[str, Any]]:
    """Names and tensors, one in memory at a time."""
    from safetensors import safe_open

    for path in files:
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - not a dict
                yield name, shard.get_tensor(name)
