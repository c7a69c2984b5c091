"""Answers of the policy by a vLLM server, which is given the policy's weights before it is asked.

    sampler = VLLMSampler("http://127.0.0.1:8000")
    sampler.sync(model, version=0)
    completions = sampler.complete(prompt_ids, 512, 1.0, stop_ids, seed=7)

The server (`python -m bedside.ppo.vllm_server`) runs beside the trainer on one host. Every set of weights has a label
of its own, and no answer is accepted that may have been written by others.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.errors import ConfigError
from bedside.ppo import vllm_weights
from bedside.ppo.merged import check, merged_weights
from bedside.ppo.vllm_http import Refused, Server

WAYS = ("auto", "adapter", "merged")
_AT_ONCE = 256  # requests in flight: vLLM's own limit of sequences in a batch
_RESETS = 20  # attempts to empty the prefix cache, which waits for requests that were given up


class VLLMSampler:
    """Samples from the policy that `sync` gave to the server at `url`.

    `how` is `adapter` (the adapter alone; exact, and small), `merged` (all weights; for what vLLM cannot serve as an
    adapter, quantised bases above all) or `auto`, which takes the first where it is exact. `model_name` is the name
    that the server gives its model (None: the first it lists); `directory` is where weights are written, which the
    server reads (None: memory, /dev/shm). ConfigError if there is no server, or not one that takes weights.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        model_name: str | None = None,
        timeout: float = 240.0,
        how: str = "auto",
        directory: str | Path | None = None,
        base: str = "MODEL",
    ):
        if how not in WAYS:
            raise ConfigError(f"how={how}: expected {', '.join(WAYS)}")
        port = url.rstrip("/").rpartition(":")[2]
        port = f" --port {port}" if port.isdigit() and port != "8000" else ""
        self.server = Server(url, timeout, f"python -m bedside.ppo.vllm_server --model {base}{port}")
        self.how, self.directory = how, directory
        self.model_name, self.context = self._model(model_name)
        self.holds = self._holds()
        self.synced: str | None = None  # label of the weights that answers must come from
        self._asked = self.model_name  # what requests name: an adapter has a name of its own for each version
        self._kept: Path | None = None  # where the adapter lies that the server may read again
        self._token = uuid.uuid4().hex[:8]  # no other run, and no earlier life of this one, has these labels

    def _model(self, wanted: str | None) -> tuple[str, int]:
        """Name and context of the model that is served."""
        found = {card["id"]: card for card in self.server.get("/v1/models")["data"]}
        own = [name for name, card in found.items() if not card.get("parent")]
        if wanted is not None and wanted not in own:
            raise ConfigError(
                f"{self.server.url}: serves {', '.join(own)}, not {wanted}; start it with {self.server.command}"
            )
        name = wanted or own[0]
        return name, found[name]["max_model_len"]

    def _holds(self) -> dict[str, Any]:
        """What the server holds, by its own word."""
        try:
            workers = self._rpc("bedside_holds")
        except Refused as refusal:
            raise ConfigError(
                f"{self.server.url}: a server that takes no weights ({refusal}); start it with {self.server.command}"
            ) from None
        return next((w for w in workers if w["broken"]), workers[0])

    def _rpc(self, method: str, **arguments: str) -> list[dict[str, Any]]:
        """What every worker answers."""
        body = {"method": method, "kwargs": arguments, "timeout": self.server.timeout}
        return self.server.post("/collective_rpc", body)["results"]

    def sync(self, model: Any, version: int, adapter: str = "default") -> float:
        """Give the server base and `adapter` of `model`, which stays as it is; returns the seconds it took.

        ConfigError if it serves another model, or one that these weights do not fit.
        """
        begin = time.monotonic()
        self.holds = self._holds()
        if self.holds["broken"]:
            raise ConfigError(f"{self.server.url}: its weights are half replaced, since a load broke off; restart it "
                              f"with {self.server.command}")  # fmt: skip
        self._same_shape(model)
        alone = vllm_weights.not_alone(model, adapter, self.holds["lora_rank"])
        if self.how == "adapter" and alone:
            raise ConfigError(f"the adapter cannot be sent alone: {alone}; send all weights (merged), or mend that")
        label = f"{self._token}-{version}"
        self.synced = None
        if self.how == "merged" or alone:
            self._send_merged(model, adapter, label)
        else:
            self._send_adapter(model, adapter, label)
        self.synced = label
        return time.monotonic() - begin

    def _same_shape(self, model: Any) -> None:
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        config, found = base.config.get_text_config(), self.holds["shape"]
        pairs = [(name, found[name], getattr(config, name, None)) for name in found]
        wrong = [f"{name} {theirs} (the policy has {ours})" for name, theirs, ours in pairs if theirs != ours]
        if wrong:
            raise ConfigError(
                f"{self.server.url}: serves another model, {self.holds['model']}, with {', '.join(wrong)}; start it "
                f"with the policy's base: {self.server.command}"
            )

    def _send_adapter(self, model: Any, adapter: str, label: str) -> None:
        """The adapter under a new name: nothing that was computed with an older one is found under it."""
        reason = vllm_weights.other_base(model, self.holds["model"])
        if self.holds["label"]:
            reason = "another run has replaced its weights"
        if reason:
            raise ConfigError(f"{self.server.url}: {reason}; start it with {self.server.command}")
        place = vllm_weights.workplace(self.directory, _adapter_bytes(model, adapter))
        name, older, kept = f"bedside-{label}", self._asked, self._kept
        try:
            vllm_weights.write_adapter(model, adapter, place / name)
            # In place, so that a request that is sent again after a broken connection is not refused.
            body = {"lora_name": name, "lora_path": str(place / name), "load_inplace": True}
            self._said_yes("/v1/load_lora_adapter", body)
        except BaseException:
            shutil.rmtree(place)
            raise
        self._asked, self._kept = name, place
        if kept:
            self._forget(older, kept)

    def _forget(self, name: str, place: Path) -> None:
        """Have the server drop an adapter, and drop its files."""
        try:
            self.server.post("/v1/unload_lora_adapter", {"lora_name": name})
        except Refused as refusal:  # the server was restarted, and knows it no more
            if refusal.status != 404:
                raise
        shutil.rmtree(place, ignore_errors=True)

    def _send_merged(self, model: Any, adapter: str, label: str) -> None:
        """All weights, in the precision that the server computes in."""
        import torch

        check(model, adapter)
        dtype = getattr(torch, self.holds["dtype"])
        place = vllm_weights.workplace(self.directory, _merged_bytes(model, dtype))
        try:
            vllm_weights.write_merged(merged_weights(model, adapter, dtype), place / label, label)
            body = {"method": "bedside_receive", "kwargs": {"directory": str(place / label), "label": label}}
            workers = self._said_yes("/collective_rpc", body | {"timeout": self.server.timeout})["results"]
        finally:
            shutil.rmtree(place)
        if any(worker["label"] != label for worker in workers):
            raise ConfigError(f"{self.server.url}: did not take the policy's weights; restart it and resume this run")
        self._empty_cache()
        self._asked = self.model_name

    def _said_yes(self, path: str, body: dict[str, Any]) -> Any:
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

    def complete(
        self,
        prompt_ids: Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float,
        stop_ids: Sequence[int],
        seed: int | Sequence[int] = 0,
    ) -> list[list[int]]:
        """Token ids that the policy continues each prompt with, in order, up to and including a stop token.

        Drawn from the whole distribution at `temperature` (0: the likeliest token), with one of `stop_ids` as the
        only end. `seed` is one for all (each row's own is derived from it) or one for each row.
        """
        if self.synced is None:
            raise ValueError("sync the policy before completing: the server still holds its own weights")
        seeds = [row_seed(seed, row) for row in range(len(prompt_ids))] if isinstance(seed, int) else list(seed)
        self._check_fits(prompt_ids, max_new_tokens, stop_ids)
        shared = {
            "model": self._asked, "max_tokens": max_new_tokens, "temperature": temperature, "top_p": 1.0, "top_k": 0,
            "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1,
            "min_tokens": 0, "stop": [], "stop_token_ids": list(stop_ids), "ignore_eos": True, "stream": False,
            "add_special_tokens": False, "return_token_ids": True,
        }  # fmt: skip
        bodies = [shared | {"prompt": list(ids), "seed": s} for ids, s in zip(prompt_ids, seeds, strict=True)]
        found = self._all(bodies)
        if self._asked == self.model_name and self._holds()["label"] != self.synced:
            raise ConfigError(self._lost())
        return found

    def _all(self, bodies: list[dict[str, Any]]) -> list[list[int]]:
        """One request a row, since a request has one seed; the server makes batches of them."""
        if not bodies:
            return []
        with ThreadPoolExecutor(min(len(bodies), _AT_ONCE)) as pool:
            waiting = [pool.submit(self._one, body) for body in bodies]
            try:
                return [answer.result() for answer in waiting]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, body: dict[str, Any]) -> list[int]:
        try:
            reply = self.server.post("/v1/completions", body)
        except Refused as refusal:
            if refusal.status == 404:
                raise ConfigError(self._lost()) from None
            raise ConfigError(f"{self.server.url}: refuses a prompt ({refusal})") from None
        choice = reply["choices"][0]
        ids = choice["token_ids"]
        if choice["prompt_token_ids"] != body["prompt"]:
            raise ConfigError(f"{self.server.url}: read another prompt than it was sent; start it with "
                              f"{self.server.command}")  # fmt: skip
        ended = bool(ids) and ids[-1] in body["stop_token_ids"]
        if not ended and len(ids) != body["max_tokens"]:
            raise ConfigError(
                f"{self.server.url}: ended an answer after {len(ids)} tokens ({choice['finish_reason']}), neither at "
                f"a stop token nor at its limit of {body['max_tokens']}; its log says more"
            )
        return ids

    def _lost(self) -> str:
        return (
            f"{self.server.url}: no longer holds the policy's weights (it was restarted, or another run uses it); "
            "give every run a server of its own, and resume this one with --resume_from_checkpoint"
        )

    def _check_fits(self, prompts: Sequence[Sequence[int]], longest: int, stops: Sequence[int]) -> None:
        rows, top = self.holds["shape"]["vocab_size"], max((max(ids) for ids in (*prompts, stops) if ids), default=0)
        if top >= rows:
            raise ConfigError(
                f"{self.server.url}: token {top} of the policy's tokenizer is not among the {rows} of the model that "
                f"it serves, {self.holds['model']}; start it with the policy's base: {self.server.command}"
            )
        need = max(map(len, prompts), default=0) + longest
        if need > self.context:
            raise ConfigError(
                f"{self.server.url}: prompt and answer have up to {need} tokens, the server takes {self.context}; "
                f"start it with `-- --max-model-len {need}`, or lower --response_length"
            )

    def close(self) -> None:
        """Give back what the server and this machine hold for the policy."""
        if self._kept:
            try:
                self._forget(self._asked, self._kept)
            except (ConfigError, Refused) as error:
                logs.warn(f"{self.server.url}: keeps the policy's adapter ({error})")
                shutil.rmtree(self._kept, ignore_errors=True)
        self._kept, self.synced = None, None


def row_seed(seed: int, row: int) -> int:
    """A 63-bit seed of its own for each row of a call."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row}".encode()).digest()[:8], "big") >> 1


def _adapter_bytes(model: Any, adapter: str) -> int:
    return sum(p.nbytes for name, p in model.named_parameters() if f".{adapter}." in f"{name}.")


def _merged_bytes(model: Any, dtype: Any) -> int:
    """Bytes of the whole model in `dtype`; a 4-bit weight counts as the numbers it stands for."""
    from bedside.adapters import trainable_share

    return trainable_share(model)[1] * dtype.itemsize
