"""Conversations to token ids and trained spans: render the whole chat, tokenize the whole string once.

Token spans come from the template's character spans, so a prompt and what a server sends for it are the same ids.
Nothing here needs torch; it loads in a fraction of a second.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tokenizers import Tokenizer

from bedside.data.conversation import Conversation, RowError, control_token
from bedside.data.pieces import Batches
from bedside.templates import Template, single_pass, turn_end_of
from bedside.templates.render import Rendered

Span = tuple[int, int]
_CHUNK = 512  # conversations tokenized at a time
_THREADS = ("TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS")


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
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return Encoding(
        template=template,
        special_tokens=tuple(sorted(names.items())),
        forbidden=tuple(sorted(token for token in special | set(tokenizer.all_special_tokens) if len(token) > 2)),
        max_length=max_length,
        enable_thinking=enable_thinking,
    )


class NotLocated(RowError):
    """The template does not show where the answer begins and ends."""

    def __init__(self) -> None:
        super().__init__("E_TEMPLATE", "the model's own template does not show where the answer begins and ends")


def targets(conversation: Conversation, template: Template) -> Iterator[list[dict]]:
    """The message lists to render: the whole chat if one pass trains every turn, else one list an answer."""
    messages = conversation["messages"]
    if single_pass(template):
        yield messages
        return
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            yield messages[: index + 1]


def switches_for(messages: list[dict], encoding: Encoding) -> dict:
    """`enable_thinking` for this rendering: an answer without a thought is served, and so trained, without one."""
    if encoding.template.thinking == "none":
        return {}
    if not messages[-1].get("reasoning_content") or encoding.enable_thinking is False:
        return {"enable_thinking": False}
    return {"enable_thinking": encoding.enable_thinking} if encoding.enable_thinking is not None else {}


def render_target(messages: list[dict], tools: list[dict] | None, encoding: Encoding) -> Rendered:
    """Text of one training sequence with the spans to train (all answers, or only the last one)."""
    template, names, switches = encoding.template, encoding.names, switches_for(messages, encoding)
    rendered = template.render(messages, tools, **names, **switches)
    if rendered.spans:
        spans = rendered.spans if single_pass(template) else rendered.spans[-1:]
        return Rendered(rendered.text, spans)
    # A model's own template without generation blocks: the span is what follows the prompt that a server would send.
    prompt = template.render(messages[:-1], tools, add_generation_prompt=True, **names, **switches).text
    turn_end = turn_end_of(template, names)
    end = rendered.text.rfind(turn_end) + len(turn_end) if turn_end else -1
    if not rendered.text.startswith(prompt) or end <= len(prompt):
        raise NotLocated
    return Rendered(rendered.text, [(len(prompt), end)])


def _token_spans(encoded, rendered: Rendered) -> list[Span]:
    """Character spans as token spans; RowError if a span does not begin and end with a token."""
    spans, total = [], len(encoded.ids)
    for start, end in rendered.spans:
        if end <= start:
            continue
        first, last = encoded.char_to_token(start), encoded.char_to_token(end - 1)
        if first is None or last is None or encoded.token_to_chars(first)[0] != start:
            raise RowError("E_BOUNDARY", "the answer begins inside a token; this tokenizer needs another template")
        while last + 1 < total and encoded.token_to_chars(last + 1)[0] < end:
            last += 1  # one character may be several byte tokens
        spans.append((first, last + 1))
    if not spans:
        raise RowError("E_NO_ANSWER", "the template renders no trained text for this row")
    return spans


def check_forbidden(conversation: Conversation, forbidden: Sequence[str]) -> None:
    """RowError W_SPECIAL if a message holds one of the `forbidden` texts."""
    for index, message in enumerate(conversation["messages"]):
        if found := control_token(message, forbidden):
            raise RowError(
                "W_SPECIAL", f"messages[{index}].{found[0]} holds this tokenizer's special token {found[1]}"
            )


def _without_oldest_turn(messages: list[dict]) -> list[dict] | None:
    """`messages` less the oldest question and all that answered it; None if only one question is left."""
    begin = 1 if messages[0]["role"] == "system" else 0
    for index in range(begin + 1, len(messages)):
        if messages[index]["role"] == "user":
            return messages[:begin] + messages[index:]
    return None


Waiting = tuple[int, list[dict], Rendered]  # number of the conversation, the messages of a sample, their text


def _render_all(conversations: list[Conversation], results: list[Encoded], encoding: Encoding) -> list[Waiting]:
    """Every sample's text; a conversation that cannot be rendered gets its error."""
    waiting: list[Waiting] = []
    for number, conversation in enumerate(conversations):
        try:
            check_forbidden(conversation, encoding.forbidden)
            tools = conversation.get("tools")
            wanted = list(targets(conversation, encoding.template))
            waiting += [(number, messages, render_target(messages, tools, encoding)) for messages in wanted]
        except RowError as error:
            results[number].error = (error.code, error.detail)
    return waiting


def _encode_all(conversations: list[Conversation], tokenizer: Batches, encoding: Encoding) -> list[Encoded]:
    """Encode a chunk: render everything, tokenize in one batch, shorten or lose what is over-long."""
    results = [Encoded() for _ in conversations]
    waiting = _render_all(conversations, results, encoding)
    while waiting:
        batch = tokenizer.encode_batch([rendered.text for _, _, rendered in waiting])
        again: list[Waiting] = []
        for (number, messages, rendered), encoded in zip(waiting, batch, strict=True):
            result = results[number]
            try:
                if len(encoded) <= encoding.max_length:
                    result.samples.append(Sample(encoded.ids, _token_spans(encoded, rendered)))
                elif shorter := _without_oldest_turn(messages):
                    result.turns_dropped += 1
                    again.append(
                        (number, shorter, render_target(shorter, conversations[number].get("tools"), encoding))
                    )
                else:
                    result.overlong = max(result.overlong, len(encoded))
            except RowError as error:
                result.error = (error.code, error.detail)
        waiting = again
    for result in results:
        if result.error:
            result.samples, result.overlong, result.turns_dropped = [], 0, 0
    return results


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
    """Encode conversations in order; the tokenizer shares each batch among `num_proc` threads.

    Worker processes were slower on two cores: ids had to travel between them as Python objects.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if num_proc > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(max(1, num_proc))  # heeded by the first batch of a process
    batches = Batches(tokenizer, many=len(conversations) > _CHUNK)
    try:
        for chunk in _chunks(conversations, _CHUNK):
            yield from _encode_all(chunk, batches, encoding)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
