"""Answers from a model in this process: one by one as they are written, or many at once.

The prompt is the template's, token for token what training saw; the thought comes apart from the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from bedside import hooks, stretches, thoughts
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data import control
from bedside.data.conversation import RowError
from bedside.data.tokens import control_tokens_of
from bedside.errors import ConfigError
from bedside.templates import Template
from bedside.thoughts import Delta
from bedside.written import Written

if TYPE_CHECKING:
    import torch

_LOOK_SECONDS = 0.05  # how often one who waits for the model looks whether the answer is still wanted


class Prompt(NamedTuple):
    """What the model continues: the template's text, its token ids, and whether it ends in an open thought."""

    text: str
    ids: list[int]
    opened: bool


class TooLittleMemory(EngineFailed, ConfigError):
    """The GPU's memory does not hold a batch; a smaller one may fit."""


class ChatEngine:
    """A causal LM, its tokenizer and its template, ready to answer chats (see answers.Engine).

    Several threads may ask at once: the model answers one call after the other. `serving.scheduler` answers several
    in one batch.
    """

    def __init__(self, model: Any, tokenizer: Any, template: Template, stop_ids: Sequence[int], name: str = "model"):
        self.model, self.tokenizer, self.template, self.name = model, tokenizer, template, name
        self.stop_ids = list(stop_ids)
        self._turn = Lock()  # generation borrows the model's generation_config and training mode
        self._names = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        self._forbidden = control_tokens_of(tokenizer, template)

    @property
    def thinks(self) -> bool:
        """Whether the template knows thoughts."""
        return self.template.thinking != "none"

    @property
    def context(self) -> int | None:
        """Tokens that prompt and completion may have together, where the model says so."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def prompt(self, messages: list[dict], enable_thinking: bool | None = None, tools: list | None = None) -> Prompt:
        """What stands before the answer to `messages`; control tokens in them are neutralised, as in training.

        Raises RowError for messages that do not end with a question (E_ROLE_ORDER) or that the template refuses
        (E_TEMPLATE), and for prompts that fill the model's context (W_OVERLONG).
        """
        last = messages[-1]["role"] if messages else "nothing"
        if last not in ("user", "tool"):
            raise RowError("E_ROLE_ORDER", f"the prompt ends with {last}, expected user")
        messages, tools, _ = control.neutralised(messages, tools, self._forbidden)
        switches = {}
        if self.thinks and enable_thinking is not None:
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
        if not prompts:
            return []
        limits = [self._limit(prompt, sampling) for prompt in prompts]
        output = self._in_stretches(prompts, sampling, limits).tolist()
        return [
            self._answer(ids[:limit], prompt, sampling)
            for ids, prompt, limit in zip(output, prompts, limits, strict=True)
        ]

    def _in_stretches(self, prompts: list[Prompt], sampling: Sampling, limits: list[int]) -> torch.Tensor:
        """Completions `(B, max(limits))`; a row that has ended, or reached its limit, leaves the batch."""
        import torch

        ids, mask = self._inputs(prompts)
        cache, most = plain_cache(self.model), torch.tensor(limits, device=ids.device)
        drawing = _keywords(sampling, prompts, max(limits))
        written = [self._written(prompt, sampling) for prompt in prompts]
        stops = torch.tensor(self.stop_ids, device=ids.device)

        def proceed(rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
            more, chosen = {}, rows.tolist()
            if "logits_processor" in drawing:
                more["logits_processor"] = [draw.of(chosen) for draw in drawing["logits_processor"]]
            if sampling.stop:
                more["stopping_criteria"] = [hooks.StopTextsOfRows([written[row] for row in chosen])]
            return self._generate(ids, mask, count, cache, **{**drawing, **more})

        def ended(rows: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            said = torch.tensor([written[row].ended for row in rows.tolist()], device=new.device)
            return said | torch.isin(new, stops).any(1) | (most[rows] <= new.shape[1])

        try:
            return stretches.written(ids, mask, max(limits), cache, self.tokenizer.pad_token_id, proceed, ended)
        except torch.OutOfMemoryError:  # while rows leave the cache
            raise _too_little(*ids.shape) from None

    def stream(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        cancel: Event | None = None,
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they are written, then the whole Answer. Setting `cancel` ends it early."""
        cancel, enough, tokens = cancel or Event(), Event(), hooks.TokenQueue()
        prompt = self.prompt(messages, enable_thinking)
        errors: list[Exception] = []

        def unwanted() -> bool:
            return cancel.is_set() or enough.is_set()

        def work() -> None:
            try:
                criteria = [lambda ids, *_, **__: hooks.whole(ids, unwanted())]
                limit, cache = self._limit(prompt, sampling), plain_cache(self.model)
                more = {"streamer": tokens, "stopping_criteria": criteria, **_keywords(sampling, [prompt], limit)}
                self._generate(*self._inputs([prompt]), limit, cache, unwanted, **more)
            except Exception as error:  # noqa: BLE001 - raised again in the reader's thread
                errors.append(error)
            tokens.end()

        worker = Thread(target=work, daemon=True)
        worker.start()
        written = self._written(prompt, sampling)
        try:
            for token in tokens:
                yield from written.add(token)
                if written.ended:
                    enough.set()
        finally:
            enough.set()  # also where the reader went away
            worker.join()
        if errors:
            raise errors[0]
        yield from written.close()
        yield written.answer(len(prompt.ids), cancel.is_set())

    def _limit(self, prompt: Prompt, sampling: Sampling) -> int:
        room = self.context - len(prompt.ids) if self.context else sampling.max_new_tokens
        return min(sampling.max_new_tokens, room)

    def _inputs(self, prompts: list[Prompt]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask `(B, T)`, padded on the left, where the model's embeddings are."""
        import torch

        width = max(len(prompt.ids) for prompt in prompts)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])
        device = self.model.get_input_embeddings().weight.device
        return ids.to(device), mask.to(device)

    def _generate(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        count: int,
        cache: Any,
        unwanted: Callable[[], bool] = lambda: False,
        **more: Any,
    ) -> torch.Tensor:
        """Ids `(B, T)` and at most `count` tokens behind them; the ids alone if nobody wants more when their turn
        comes. `cache` holds what was computed of them. EngineFailed when the GPU's memory does not suffice or the
        model breaks."""
        import torch

        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            if unwanted():
                return ids
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), own_generation_config(self.model):
                return self.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=count,
                    eos_token_id=self.stop_ids,
                    pad_token_id=self.tokenizer.pad_token_id,
                    past_key_values=cache,
                    use_cache=True,
                    **more,
                )
        except torch.OutOfMemoryError:
            raise _too_little(*ids.shape) from None
        except RuntimeError as error:
            raise EngineFailed(f"the model broke off: {first_line(error)}") from error
        finally:
            self.model.train(was_training)
            self._turn.release()

    def decode(self, ids: list[int]) -> str:
        """The text of a completion, without special tokens."""
        return self.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)

    def _written(self, prompt: Prompt, sampling: Sampling) -> Written:
        return Written(self.decode, self.stop_ids, sampling.stop, prompt.opened)

    def _answer(self, ids: list[int], prompt: Prompt, sampling: Sampling) -> Answer:
        """The completion `ids` (perhaps padded after its stop token or text) as an Answer."""
        if sampling.stop:
            written = self._written(prompt, sampling)
            for token in ids:
                list(written.add(token))
            list(written.close())
            return written.answer(len(prompt.ids))
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        kept = ids if end is None else ids[:end]
        text = self.decode(kept)
        parts = thoughts.parse(text, prompt.opened)
        reason = "length" if end is None else "stop"
        return Answer(text, parts.thought, parts.answer, reason, len(prompt.ids), len(kept) + (end is not None))


def _too_little(rows: int, width: int) -> TooLittleMemory:
    return TooLittleMemory(
        f"the GPU's memory does not hold {rows} prompt(s) of {width} tokens and their answers; "
        "lower --batch_size or --max_new_tokens, or add --load_in_4bit True"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _keywords(sampling: Sampling, prompts: Sequence[Prompt] = (), limit: int = 0) -> dict[str, Any]:
    """These settings as `generate` takes them. With a seed, each row draws by its own numbers."""
    if sampling.temperature > 0 and sampling.seed is not None:
        return {
            "do_sample": False,
            "logits_processor": [hooks.SeededDraw([prompt.ids for prompt in prompts], sampling, limit)],
        }
    common = {"repetition_penalty": sampling.repetition_penalty, "do_sample": sampling.temperature > 0}
    if sampling.temperature <= 0:
        return common
    return {**common, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}


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


def plain_cache(model: Any) -> Any:
    """An empty cache that rows can join and leave, if every layer of the model attends to all that went before; None
    for a model with sliding windows or a state of another kind."""
    from bedside import growing

    return growing.cache(model.config.get_text_config())
