"""The policy's weights handed to a vLLM server: as the adapter alone, or as all weights of base and adapter.

An adapter has a name of its own for each version, so that nothing that was computed with an older one is found under
it. All weights replace those of the server, which then forgets the prefixes that it has computed.
"""

from __future__ import annotations

import shutil
import time
import weakref
from pathlib import Path
from typing import Any

from bedside import adapters, fingerprints, logs, models
from bedside.errors import ConfigError
from bedside.ppo import vllm_weights
from bedside.ppo.merged import check, merged_weights
from bedside.ppo.vllm_http import Refused, Server

_RESETS = 20  # attempts to empty the prefix cache, which waits for requests that were given up


class Delivery:
    """Hands weights to `server` through files in `directory` (None: memory), and clears up behind itself."""

    def __init__(self, server: Server, directory: str | Path | None):
        self.server, self.directory = server, directory
        self._kept: tuple[str, Path] | None = (
            None  # the adapter there, and where it lies: the server may read it again
        )

    def adapter(self, model: Any, adapter: str, label: str, holds: dict[str, Any]) -> str:
        """The adapter by itself, the older one dropped; returns the name that requests give it."""
        reason = "another run has replaced its weights" if holds["label"] else other_base(model, holds["model"])
        if reason:
            raise ConfigError(f"{self.server.url}: {reason}; start it with {self.server.command}")
        place = vllm_weights.workplace(self.directory, _adapter_bytes(model, adapter))
        remove = weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        name = f"bedside-{label}"
        try:
            vllm_weights.write_adapter(model, adapter, place / name)
            # In place, so that a request that is sent again after a broken connection is not refused.
            body = {"lora_name": name, "lora_path": str(place / name), "load_inplace": True}
            self._accepted("/v1/load_lora_adapter", body)
        except BaseException:
            remove()
            raise
        older, self._kept = self._kept, (name, remove)
        if older:
            self._forget(*older)
        return name

    def _forget(self, name: str, remove: weakref.finalize) -> None:
        """Have the server drop an adapter, and drop its files."""
        remove()
        try:
            self.server.post("/v1/unload_lora_adapter", {"lora_name": name})
        except Refused as refusal:  # the server was restarted, and knows it no more
            if refusal.status != 404:
                raise

    def merged(self, model: Any, adapter: str, label: str, holds: dict[str, Any]) -> None:
        """All weights, in the precision that the server computes in."""
        import torch

        check(model, adapter)
        dtype = getattr(torch, holds["dtype"])
        place = vllm_weights.workplace(self.directory, _merged_bytes(model, dtype))
        try:
            vllm_weights.write_merged(merged_weights(model, adapter, dtype), place / label, label)
            body = {"method": "bedside_receive", "kwargs": {"directory": str(place / label), "label": label}}
            workers = self._accepted("/collective_rpc", body | {"timeout": self.server.timeout})["results"]
        finally:
            shutil.rmtree(place)
        if any(worker["label"] != label for worker in workers):
            raise ConfigError(f"{self.server.url}: did not take the policy's weights; restart it and resume this run")
        self._empty_cache()

    def _accepted(self, path: str, body: dict[str, Any]) -> Any:
        try:
            return self.server.post(path, body)
        except Refused as refusal:
            raise ConfigError(
                f"{self.server.url}: did not take the policy's weights ({refusal}); its log says more. Restart it "
                f"with {self.server.command} and resume this run"
            ) from None

    def _empty_cache(self) -> None:
        """Prefixes that older weights computed are forgotten."""
        for _ in range(_RESETS):
            if self.server.post("/reset_prefix_cache", {})["success"]:
                return
            time.sleep(0.25)
        raise ConfigError(f"{self.server.url}: answers requests of others; the policy needs a server of its own")

    def close(self) -> None:
        """Have the server drop the policy's adapter, and drop its files."""
        if self._kept:
            try:
                self._forget(*self._kept)
            except ConfigError as error:
                logs.warn(f"{self.server.url}: keeps the policy's adapter ({error})")
        self._kept = None


def not_alone(model: Any, adapter: str, max_rank: int | None) -> str | None:
    """Why the server cannot be given `adapter` by itself; None if it can, exactly."""
    config = getattr(model, "peft_config", {}).get(adapter)
    if config is None:
        return "the policy is not an adapter"
    if max_rank is None:
        return "the server was started without --enable-lora"
    if quant := models.quantisation_of(model.get_base_model()):
        return f"the policy's base is in {quant['bits']} bits, the server's is not"
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower().startswith(("pissa", "olora", "corda")):
        return f"{start} moved a part of the base's weights into the adapter"
    ranks = [config.r, *(config.rank_pattern or {}).values()]
    if max(ranks) > max_rank:
        return f"its rank is {max(ranks)}, the server was started with --max-lora-rank {max_rank}"
    parts = {"use_dora": "DoRA", "modules_to_save": "modules trained whole", "lora_bias": "biases",
             "trainable_token_indices": "trained rows of the vocabulary", "alora_invocation_tokens": "aLoRA",
             "target_parameters": "adapters of parameters"}  # fmt: skip
    found = next((what for name, what in parts.items() if getattr(config, name, None)), None)
    found = found or ("biases" if config.bias != "none" else None)
    return f"vLLM does not serve {found}" if found else None


def other_base(model: Any, served: str) -> str | None:
    """Why the adapter's base is not the model that is `served`, or None. Compares their weight files."""
    own = str(getattr(model.get_base_model().config, "_name_or_path", "") or "")
    places = [Path(name) if Path(name).is_dir() else fingerprints.hub_directory(name) for name in (own, served)]
    if None in places:
        return None if own == served else f"it serves {served}, the policy's base is {own}"
    if places[0] == places[1] or fingerprints.fingerprint(places[0]) == fingerprints.fingerprint(places[1]):
        return None
    return f"it serves {served}, whose weights are not those of the policy's base {own}"


def _adapter_bytes(model: Any, adapter: str) -> int:
    return sum(p.nbytes for name, p in model.named_parameters() if f".{adapter}." in f"{name}.")


def _merged_bytes(model: Any, dtype: Any) -> int:
    """Bytes of the whole model in `dtype`; a 4-bit weight counts as the numbers it stands for."""
    return adapters.trainable_share(model)[1] * dtype.itemsize
