"""Answers from a model in this process: one by one as they are written, or many at once.

The prompt is the template's, token for token what training saw; the thought comes apart from the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from bedside import thoughts
from bedside.templates import Template

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 takes the likeliest every time."""

    max_new_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.0

    def keywords(self) -> dict[str, Any]:
        """Every generation field set, so that a model's own generation_config changes nothing."""
        common = {"max_new_tokens": self.max_new_tokens, "repetition_penalty": self.repetition_penalty}
        if self.temperature <= 0:
            return {**common, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {
            **common,
            "do_sample": True,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
        }


@dataclass(frozen=True)
class Answer:
    """A finished completion. `finish_reason` is stop (a stop token ended it) or length."""

    text: str
    thought: str | None
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """A piece of a streaming completion: of the thought or of the answer."""

    kind: str
    text: str


class ChatEngine:
    """A causal LM, its tokenizer and its template, ready to answer chats."""

    def __init__(self, model: Any, tokenizer: Any, template: Template, stop_ids: Sequence[int]):
        self.model, self.tokenizer, self.template = model, tokenizer, template
        self.stop_ids = list(stop_ids)
        self._names = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}

    def prompt(self, messages: list[dict], enable_thinking: bool | None = None, tools: list | None = None) -> str:
        """The text whose continuation is the answer."""
        switches = {}
        if self.template.thinking != "none" and enable_thinking is not None:
            switches["enable_thinking"] = enable_thinking
        return self.template.render(messages, tools, add_generation_prompt=True, **self._names, **switches).text

    def _inputs(self, prompts: list[str]) -> dict[str, torch.Tensor]:
        side, self.tokenizer.padding_side = self.tokenizer.padding_side, "left"
        try:
            inputs = self.tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        finally:
            self.tokenizer.padding_side = side
        device = next(self.model.parameters()).device
        return {name: inputs[name].to(device) for name in ("input_ids", "attention_mask")}

    def _generate(self, inputs: dict[str, torch.Tensor], sampling: Sampling, **extra: Any) -> torch.Tensor:
        import torch

        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.model.generate(
                    **inputs,
                    **sampling.keywords(),
                    eos_token_id=self.stop_ids,
                    pad_token_id=self.tokenizer.pad_token_id,
                    use_cache=True,
                    **extra,
                )
        finally:
            self.model.train(was_training)

    def _answer(self, ids: list[int], prompt: str, prompt_tokens: int) -> Answer:
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        kept = ids if end is None else ids[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        parts = thoughts.parse(text, opened=prompt.rstrip().endswith(thoughts.OPEN))
        reason = "length" if end is None else "stop"
        used = len(kept) + (end is not None)
        return Answer(text, parts.thought, parts.answer, reason, prompt_tokens, used)

    def answer(
        self, conversations: list[list[dict]], sampling: Sampling, enable_thinking: bool | None = None
    ) -> list[Answer]:
        """Complete a batch of conversations (each ends with the user)."""
        prompts = [self.prompt(messages, enable_thinking) for messages in conversations]
        inputs = self._inputs(prompts)
        width = inputs["input_ids"].shape[1]
        output = self._generate(inputs, sampling)[:, width:].tolist()
        lengths = inputs["attention_mask"].sum(-1).tolist()
        return [self._answer(*each) for each in zip(output, prompts, lengths, strict=True)]

    def stream(
        self, messages: list[dict], sampling: Sampling, enable_thinking: bool | None = None, cancel: Event | None = None
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they are written, then the whole Answer. `cancel` stops it early."""
        from transformers import (
            StoppingCriteria,
            StoppingCriteriaList,
            TextIteratorStreamer,
        )

        cancel = cancel or Event()

        class Cancelled(StoppingCriteria):
            def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
                import torch

                return torch.full((input_ids.shape[0],), cancel.is_set(), device=input_ids.device)

        prompt = self.prompt(messages, enable_thinking)
        inputs = self._inputs([prompt])
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=600)
        result: dict[str, Any] = {}

        def work() -> None:
            try:
                result["ids"] = self._generate(
                    inputs, sampling, streamer=streamer, stopping_criteria=StoppingCriteriaList([Cancelled()])
                )
            except Exception as error:  # noqa: BLE001 - carried to the reader's thread and raised there
                result["error"] = error
                streamer.end()

        worker = Thread(target=work, daemon=True)
        worker.start()
        splitter = _Splitter(opened=prompt.rstrip().endswith(thoughts.OPEN))
        try:
            for piece in streamer:
                yield from splitter.feed(piece)
        finally:
            cancel.set()
            worker.join()
        if "error" in result:
            raise result["error"]
        yield from splitter.flush()
        width = inputs["input_ids"].shape[1]
        yield self._answer(result["ids"][0, width:].tolist(), prompt, width)


class _Splitter:
    """Cuts streamed text at the think tags, holding back what may become one."""

    def __init__(self, opened: bool):
        self.kind, self.waiting, self.begun = ("thought" if opened else "answer"), "", False

    def feed(self, piece: str) -> Iterator[Delta]:
        self.waiting += piece
        while self.waiting:
            tag = thoughts.OPEN if self.kind == "answer" and not self.begun else thoughts.CLOSE
            text = self.waiting if self.begun else self.waiting.lstrip()
            if not text:
                return
            if tag == thoughts.OPEN and text.startswith(tag):
                self.kind, self.waiting, self.begun = "thought", text[len(tag) :], False
                continue
            if self.kind == "thought" and tag in text:
                before, _, self.waiting = text.partition(tag)
                if before.rstrip():
                    yield Delta("thought", before.rstrip())
                self.kind, self.begun = "after", False
                continue
            held = _possible_tag(text, tag) if self.kind != "after" else 0
            if self.kind == "thought":  # the newline before the closing tag belongs to the tag
                held = max(held, len(text) - len(text[: len(text) - held].rstrip()))
            ready, self.waiting = text[: len(text) - held], text[len(text) - held :]
            if ready:
                self.begun = True
                yield Delta("thought" if self.kind == "thought" else "answer", ready)
            return

    def flush(self) -> Iterator[Delta]:
        if self.waiting.strip():
            yield Delta("thought" if self.kind == "thought" else "answer", self.waiting)
        self.waiting = ""


def _possible_tag(text: str, tag: str) -> int:
    """How many characters at the end of `text` are the beginning of `tag`."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0
