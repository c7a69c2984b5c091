"""Answers from a model in this process: one by one as they are written, or many at once.

The prompt is the template's, token for token what training saw; the thought comes apart from the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from bedside import thoughts
from bedside.answers import Answer, Sampling
from bedside.data import control
from bedside.data.conversation import RowError
from bedside.data.tokens import control_tokens_of
from bedside.errors import ConfigError
from bedside.templates import Template
from bedside.thoughts import Delta

if TYPE_CHECKING:
    import torch

_HELD_BACK = 8  # tokens: longer than any character, so that invalid bytes do not hold back what follows


class Prompt(NamedTuple):
    """What the model continues: the template's text, its token ids, and whether it ends in an open thought."""

    text: str
    ids: list[int]
    opened: bool


class ChatEngine:
    """A causal LM, its tokenizer and its template, ready to answer chats."""

    def __init__(self, model: Any, tokenizer: Any, template: Template, stop_ids: Sequence[int]):
        self.model, self.tokenizer, self.template = model, tokenizer, template
        self.stop_ids = list(stop_ids)
        self._names = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        self._forbidden = control_tokens_of(tokenizer, template)

    @property
    def context(self) -> int | None:
        """Tokens that prompt and completion may have together, where the model says so."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def prompt(self, messages: list[dict], enable_thinking: bool | None = None, tools: list | None = None) -> Prompt:
        """What stands before the answer to `messages`; control tokens in them are neutralised, as in training.

        Raises RowError for messages that the template refuses (E_TEMPLATE) and for prompts that fill the model's
        context (W_OVERLONG).
        """
        messages, tools, _ = control.neutralised(messages, tools, self._forbidden)
        switches = {}
        if self.template.thinking != "none" and enable_thinking is not None:
            switches["enable_thinking"] = enable_thinking
        text = self.template.render(messages, tools, add_generation_prompt=True, **self._names, **switches).text
        ids = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        if self.context and len(ids) >= self.context:
            raise RowError("W_OVERLONG", f"the prompt has {len(ids)} tokens, the model's context is {self.context}")
        return Prompt(text, ids, text.rstrip().endswith(thoughts.OPEN))

    def answer(
        self, conversations: list[list[dict]], sampling: Sampling, enable_thinking: bool | None = None
    ) -> list[Answer]:
        """Complete a batch of conversations (each ends with the user)."""
        return self.complete([self.prompt(messages, enable_thinking) for messages in conversations], sampling)

    def complete(self, prompts: list[Prompt], sampling: Sampling) -> list[Answer]:
        """The answers to a batch of prompts; each may use what its own prompt leaves of the context."""
        limits = [self._limit(prompt, sampling) for prompt in prompts]
        inputs = self._inputs(prompts)
        output = self._generate(inputs, sampling, max(limits))[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self._answer(ids[:limit], prompt, False)
            for ids, prompt, limit in zip(output, prompts, limits, strict=True)
        ]

    def stream(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        cancel: Event | None = None,
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they are written, then the whole Answer. Setting `cancel` ends it early."""
        cancel, tokens = cancel or Event(), _TokenQueue()
        prompt = self.prompt(messages, enable_thinking)
        result: dict[str, Any] = {}

        def work() -> None:
            try:
                inputs, limit = self._inputs([prompt]), self._limit(prompt, sampling)
                criteria = [lambda ids, *_, **__: _whole(ids, cancel.is_set())]
                output = self._generate(inputs, sampling, limit, streamer=tokens, stopping_criteria=criteria)
                result["ids"] = output[0, len(prompt.ids) :].tolist()
            except Exception as error:  # noqa: BLE001 - raised again in the reader's thread
                result["error"] = error
            tokens.end()

        worker = Thread(target=work, daemon=True)
        worker.start()
        splitter, text, finished = thoughts.Splitter(prompt.opened), _TextOfTokens(self.decode), False
        try:
            for token in tokens:
                if token not in self.stop_ids:
                    yield from splitter.feed(text.add(token))
            finished = True
        finally:
            if not finished:  # the reader went away
                cancel.set()
            worker.join()
        if "error" in result:
            raise result["error"]
        yield from splitter.feed(text.rest())
        yield from splitter.flush()
        yield self._answer(result["ids"], prompt, cancel.is_set())

    def _limit(self, prompt: Prompt, sampling: Sampling) -> int:
        room = self.context - len(prompt.ids) if self.context else sampling.max_new_tokens
        return min(sampling.max_new_tokens, room)

    def _inputs(self, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
        """Ids and attention mask `(B, T)`, padded on the left, where the model's embeddings are."""
        import torch

        width = max(len(prompt.ids) for prompt in prompts)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])
        device = self.model.get_input_embeddings().weight.device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def _generate(self, inputs: dict[str, torch.Tensor], sampling: Sampling, limit: int, **extra: Any) -> torch.Tensor:
        """Prompt and completion ids `(B, T + at most limit)`; ConfigError when the GPU's memory does not suffice."""
        import torch

        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), own_generation_config(self.model):
                return self.model.generate(
                    **inputs,
                    **_keywords(sampling),
                    max_new_tokens=limit,
                    eos_token_id=self.stop_ids,
                    pad_token_id=self.tokenizer.pad_token_id,
                    use_cache=True,
                    **extra,
                )
        except torch.OutOfMemoryError:
            rows, width = inputs["input_ids"].shape
            raise ConfigError(
                f"the GPU's memory does not hold {rows} prompt(s) of {width} tokens and their answers; "
                "lower --batch_size or --max_new_tokens, or add --load_in_4bit True"
            ) from None
        finally:
            self.model.train(was_training)

    def decode(self, ids: list[int]) -> str:
        """The text of a completion, without special tokens."""
        return self.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)

    def _answer(self, ids: list[int], prompt: Prompt, cancelled: bool) -> Answer:
        """The completion `ids` (perhaps padded after its stop token) as an Answer."""
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        kept = ids if end is None else ids[:end]
        text = self.decode(kept)
        parts = thoughts.parse(text, prompt.opened)
        reason = "stop" if end is not None else "cancelled" if cancelled else "length"
        return Answer(text, parts.thought, parts.answer, reason, len(prompt.ids), len(kept) + (end is not None))


def _keywords(sampling: Sampling) -> dict[str, Any]:
    """These settings as `generate` takes them."""
    common = {"repetition_penalty": sampling.repetition_penalty, "do_sample": sampling.temperature > 0}
    if sampling.temperature <= 0:
        return common
    return {**common, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}


def _whole(ids: torch.Tensor, value: bool) -> torch.Tensor:
    """`value` for every row of `ids`: the form in which `generate` is told to stop."""
    import torch

    return torch.full((ids.shape[0],), value, dtype=torch.bool, device=ids.device)


@contextmanager
def own_generation_config(model: Any) -> Iterator[None]:
    """Put the model's generation_config aside: its sampling fields would fill every one that we leave open."""
    from transformers import GenerationConfig

    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept, owner.generation_config = owner.generation_config, GenerationConfig()
    try:
        yield
    finally:
        owner.generation_config = kept


class _TokenQueue:
    """The streamer that `generate` writes to: iterates over new token ids, in the reader's thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._prompt_seen = False

    def put(self, ids: torch.Tensor) -> None:
        """Called by `generate`, with the prompt first."""
        if self._prompt_seen:
            for token in ids.flatten().tolist():
                self._queue.put(token)
        self._prompt_seen = True

    def end(self) -> None:
        """Called by `generate`, and by whoever runs it: the first call counts."""
        self._queue.put(None)

    def __iter__(self) -> Iterator[int]:
        return iter(self._queue.get, None)


class _TextOfTokens:
    """Text that each new token adds, whole characters only (a character may be several tokens)."""

    def __init__(self, decode: Any):
        self._decode, self._ids = decode, []
        self._start = self._shown = 0  # ids from `start` are decoded again; those before `shown` were handed on

    def add(self, token: int) -> str:
        """The text that became certain with `token`, often none."""
        self._ids.append(token)
        return self._new(hold=len(self._ids) - self._shown < _HELD_BACK)

    def rest(self) -> str:
        """What was held back, as the whole text has it."""
        return self._new(hold=False)

    def _new(self, hold: bool) -> str:
        before = self._decode(self._ids[self._start : self._shown])
        text = self._decode(self._ids[self._start :])
        if hold and text.endswith("\ufffd"):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return text[len(before) :]
