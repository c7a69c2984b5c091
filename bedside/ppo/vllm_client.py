"""Answers of the policy by a vLLM server, which is given the policy's weights before it is asked.

    sampler = VLLMSampler("http://127.0.0.1:8000")
    sampler.sync(model, version=0)
    completions = sampler.complete(prompt_ids, 512, 1.0, stop_ids, seed=7)

The server (`python -m bedside.ppo.vllm_server`) runs beside the trainer on one host. Every set of weights has a label
of its own, and no answer is accepted that may have been written by others.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bedside.errors import ConfigError
from bedside.ppo import vllm_delivery
from bedside.ppo.vllm_http import Refused, Server

WAYS = ("auto", "adapter", "merged")
_AT_ONCE = 256  # requests in flight: vLLM's own limit of sequences in a batch


class Handed(NamedTuple):
    """Weights that the server has: their label, the name that requests give them, and the seconds it took."""

    label: str
    name: str
    seconds: float


class VLLMSampler:
    """Samples from the policy that `sync` gave to the server at `url`.

    `how` is `adapter` (the adapter alone: small), `merged` (all weights: for what vLLM cannot serve as an adapter,
    quantised bases above all) or `auto`, the first where it is right and vLLM runs on a GPU. `model_name` is the name
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
        self.how = how
        self._delivery = vllm_delivery.Delivery(self.server, directory)
        self.model_name, self.context = self._model(model_name)
        self.holds = self._holds()
        self.logps: list[list[float]] = []  # of the last answers' tokens, by the server's own word
        self.synced: str | None = None  # label of the weights that answers must come from
        self._asked = self.model_name  # what requests name: an adapter has a name of its own for each version
        self._token = uuid.uuid4().hex[:8]  # no other run, and no earlier life of this one, has these labels

    def _model(self, wanted: str | None) -> tuple[str, int]:
        """Name and context of the model that is served."""
        try:
            found = {card["id"]: card for card in self.server.get("/v1/models")["data"]}
        except (Refused, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.server.url}: no vLLM server, it lists no models ({error}); start one with "
                f"{self.server.command}"
            ) from None
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

    def sync(self, model: Any, version: int, adapter: str = "default") -> Handed:
        """Give the server base and `adapter` of `model`, which stays as it is; what came of it is for `follow`.

        ConfigError if it serves another model, or one that these weights do not fit.
        """
        begin = time.monotonic()
        self.synced = None
        self.holds = self._holds()
        if self.holds["broken"]:
            raise ConfigError(
                f"{self.server.url}: its weights are half replaced, since a load broke off; restart it with "
                f"{self.server.command}"
            )
        self._same_shape(model)
        label = f"{self._token}-{version}"
        alone = self._alone(model, adapter)
        send = self._delivery.adapter if alone else self._delivery.merged
        name = send(model, adapter, label, self.holds) or self.model_name
        handed = Handed(label, name, time.monotonic() - begin)
        self.follow(handed)
        return handed

    def follow(self, handed: Handed) -> None:
        """Ask for answers by the weights that the sampler of another process has handed over."""
        self.synced, self._asked = handed.label, handed.name

    def _alone(self, model: Any, adapter: str) -> bool:
        """Whether the adapter goes by itself; ConfigError if that was asked for and cannot be."""
        reason = vllm_delivery.not_alone(model, adapter, self.holds["lora_rank"])
        if self.how == "adapter" and reason:
            raise ConfigError(
                f"the adapter cannot be sent alone: {reason}; mend that, or have all weights sent (how: merged)"
            )
        # Measured: on a CPU vLLM writes half as many tokens a second with an adapter as without.
        wanted = self.how == "adapter" or (self.how == "auto" and self.holds["device"] != "cpu")
        return wanted and not reason

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
            "add_special_tokens": False, "return_token_ids": True, "logprobs": 0,
        }  # fmt: skip
        bodies = [shared | {"prompt": list(ids), "seed": s} for ids, s in zip(prompt_ids, seeds, strict=True)]
        answers = self._all(bodies)
        found, self.logps = [ids for ids, _ in answers], [logps for _, logps in answers]
        if self._asked == self.model_name and self._holds()["label"] != self.synced:
            raise ConfigError(self._lost())
        return found

    def _all(self, bodies: list[dict[str, Any]]) -> list[tuple[list[int], list[float]]]:
        """One request a row, since a request has one seed; the server makes batches of them."""
        if not bodies:
            return []
        with ThreadPoolExecutor(min(len(bodies), _AT_ONCE)) as pool:
            waiting = [pool.submit(self._one, body) for body in bodies]
            try:
                return [answer.result() for answer in waiting]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, body: dict[str, Any]) -> tuple[list[int], list[float]]:
        """The answer's ids, and what the server says of them: log-probabilities, none from a server without."""
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
        return ids, list((choice.get("logprobs") or {}).get("token_logprobs") or [])

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
        self._delivery.close()
        self.synced = None


def row_seed(seed: int, row: int) -> int:
    """A 63-bit seed of its own for each row of a call."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row}".encode()).digest()[:8], "big") >> 1
