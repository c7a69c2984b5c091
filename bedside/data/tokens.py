"""Conversations to token ids and trained spans: render the whole chat, tokenize the whole string once.

Token spans come from the template's character spans, so a prompt and what a server sends for it are the same ids.
Nothing here needs torch; worker processes load in a fraction of a second.
"""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tokenizers import Tokenizer

from bedside.data.conversation import Conversation, RowError
from bedside.errors import ConfigError
from bedside.templates import Template, single_pass, turn_end_of
from bedside.templates.render import Rendered

Span = tuple[int, int]
_CHUNK = 512  # conversations a worker gets at a time


class Sample(NamedTuple):
    """Token ids of one training sequence and the `[start, end)` token spans that are trained on."""

    ids: list[int]
    spans: list[Span]


@dataclass
class Encoded:
    """What one conversation became. `error` excludes samples; `overlong` is the length of the longest lost sample."""

    samples: list[Sample] = field(default_factory=list)
    overlong: int = 0
    turns_dropped: int = 0
    error: tuple[str, str] | None = None


@dataclass(frozen=True)
class Encoding:
    """All that turns a conversation into ids; picklable, so that workers can have it."""

    template: Template
    special_tokens: tuple[tuple[str, str], ...]  # bos_token, eos_token, ... as the tokenizer names them
    forbidden: tuple[str, ...]  # special tokens that no message may contain as text
    max_length: int
    enable_thinking: bool | None = None

    @property
    def names(self) -> dict[str, str]:
        return dict(self.special_tokens)


def encoding_for(tokenizer, template: Template, max_length: int, enable_thinking: bool | None = None) -> Encoding:
    """The Encoding of a Hugging Face fast tokenizer with `template`."""
    names = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    return Encoding(
        template=template,
        special_tokens=tuple(sorted(names.items())),
        forbidden=tuple(token for token in tokenizer.all_special_tokens if len(token) > 2),
        max_length=max_length,
        enable_thinking=enable_thinking,
    )


def _targets(conversation: Conversation, template: Template) -> Iterator[list[dict]]:
    """The message lists to render: the whole chat if one pass trains every turn, else one list an answer."""
    messages = conversation["messages"]
    if single_pass(template):
        yield messages
        return
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            yield messages[: index + 1]


def _switches(messages: list[dict], encoding: Encoding) -> dict:
    """`enable_thinking` for this rendering: an answer without a thought is served, and so trained, without one."""
    if encoding.template.thinking == "none":
        return {}
    if not messages[-1].get("reasoning_content") or encoding.enable_thinking is False:
        return {"enable_thinking": False}
    return {"enable_thinking": encoding.enable_thinking} if encoding.enable_thinking is not None else {}


def render_target(messages: list[dict], tools: list[dict] | None, encoding: Encoding) -> Rendered:
    """Text of one training sequence with the spans to train (all answers, or only the last one)."""
    template, names, switches = encoding.template, encoding.names, _switches(messages, encoding)
    rendered = template.render(messages, tools, **names, **switches)
    if rendered.spans:
        spans = rendered.spans if single_pass(template) else rendered.spans[-1:]
        return Rendered(rendered.text, spans)
    # A model's own template without generation blocks: the span is what follows the prompt that a server would send.
    prompt = template.render(messages[:-1], tools, add_generation_prompt=True, **names, **switches).text
    turn_end = turn_end_of(template, names)
    end = rendered.text.rfind(turn_end) + len(turn_end) if turn_end else -1
    if not rendered.text.startswith(prompt) or end <= len(prompt):
        raise RowError("E_TEMPLATE", "the model's own template does not show where the answer begins and ends")
    return Rendered(rendered.text, [(len(prompt), end)])


def _token_spans(encoded, rendered: Rendered) -> list[Span]:
    """Character spans as token spans; RowError if a span begins inside a token."""
    spans = []
    for start, end in rendered.spans:
        if end <= start:
            continue
        first = encoded.char_to_token(start)
        after = encoded.char_to_token(end) if end < len(rendered.text) else None
        after = len(encoded.ids) if after is None else after
        if first is None or encoded.token_to_chars(first)[0] != start:
            raise RowError("E_BOUNDARY", "the answer begins inside a token; this tokenizer needs another template")
        spans.append((first, after))
    if not spans:
        raise RowError("E_NO_ANSWER", "the template renders no trained text for this row")
    return spans


def _check_forbidden(conversation: Conversation, forbidden: Sequence[str]) -> None:
    for index, message in enumerate(conversation["messages"]):
        for text in (message.get("content"), message.get("reasoning_content")):
            for token in forbidden:
                if text and token in text:
                    raise RowError("W_SPECIAL", f"messages[{index}] holds this tokenizer's special token {token}")


def _without_oldest_turn(messages: list[dict]) -> list[dict] | None:
    """`messages` less the oldest question and all that answered it; None if only one question is left."""
    begin = 1 if messages[0]["role"] == "system" else 0
    for index in range(begin + 1, len(messages)):
        if messages[index]["role"] == "user":
            return messages[:begin] + messages[index:]
    return None


def _encode_all(conversations: list[Conversation], tokenizer: Tokenizer, encoding: Encoding) -> list[Encoded]:
    """Encode a chunk: render everything, tokenize in one batch, shorten or lose what is over-long."""
    results = [Encoded() for _ in conversations]
    waiting: list[tuple[int, list[dict], Rendered]] = []
    for number, conversation in enumerate(conversations):
        try:
            _check_forbidden(conversation, encoding.forbidden)
            for messages in _targets(conversation, encoding.template):
                rendered = render_target(messages, conversation.get("tools"), encoding)
                waiting.append((number, messages, rendered))
        except RowError as error:
            results[number].error = (error.code, error.detail)
    waiting = [entry for entry in waiting if results[entry[0]].error is None]
    while waiting:
        batch = tokenizer.encode_batch([rendered.text for _, _, rendered in waiting], add_special_tokens=False)
        again = []
        for (number, messages, rendered), encoded in zip(waiting, batch, strict=True):
            result = results[number]
            if len(encoded.ids) > encoding.max_length:
                shorter = _without_oldest_turn(messages)
                if shorter is None:
                    result.overlong = max(result.overlong, len(encoded.ids))
                    continue
                result.turns_dropped += 1
                tools = conversations[number].get("tools")
                again.append((number, shorter, render_target(shorter, tools, encoding)))
                continue
            try:
                result.samples.append(Sample(encoded.ids, _token_spans(encoded, rendered)))
            except RowError as error:
                result.error, result.samples = (error.code, error.detail), []
        waiting = again
    return results


_worker: dict = {}


def _start_worker(tokenizer_json: str, encoding: Encoding) -> None:
    import os

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _worker["tokenizer"], _worker["encoding"] = Tokenizer.from_str(tokenizer_json), encoding


def _work(conversations: list[Conversation]) -> list[Encoded]:
    return _encode_all(conversations, _worker["tokenizer"], _worker["encoding"])


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def encode(
    conversations: list[Conversation], tokenizer: Tokenizer, encoding: Encoding, num_proc: int = 1
) -> Iterator[Encoded]:
    """Encode conversations in order, with `num_proc` worker processes where there is enough work for them."""
    if num_proc <= 1 or len(conversations) < 4 * _CHUNK:
        for chunk in _chunks(conversations, _CHUNK):
            yield from _encode_all(chunk, tokenizer, encoding)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy the locks of tokenizer and torch threads
    with context.Pool(num_proc, _start_worker, (tokenizer.to_str(), encoding)) as pool:
        for results in pool.imap(_work, _chunks(conversations, _CHUNK)):
            yield from results


def check_prefix(conversations: list[Conversation], tokenizer: Tokenizer, encoding: Encoding) -> None:
    """Raise ConfigError unless a served prompt's ids are the beginning of what is trained, on these conversations."""
    for conversation in conversations:
        messages = next(_targets(conversation, encoding.template))
        last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
        messages = messages[: last + 1]
        tools, switches = conversation.get("tools"), _switches(messages, encoding)
        prompt = encoding.template.render(
            messages[:-1], tools, add_generation_prompt=True, **encoding.names, **switches
        ).text
        whole = render_target(messages, tools, encoding).text
        served, trained = (tokenizer.encode(text, add_special_tokens=False).ids for text in (prompt, whole))
        if trained[: len(served)] != served:
            raise ConfigError(
                f"template {encoding.template.name} does not fit this tokenizer: the ids of a served prompt are not the "
                "beginning of the ids that are trained; pass another --template_name"
            )
