"""Conversations to token ids and trained spans: render the whole chat, tokenize the whole string once.

Token spans come from the template's character spans, so a prompt and what a server sends for it are the same ids.
Nothing here needs torch; it loads in a fraction of a second.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside.data import control, loss
from bedside.data.conversation import Conversation, RowError, check_answers
from bedside.data.pieces import Batches, ByBytes, ByOffsets
from bedside.templates import Template, parts, single_pass, turn_end_of
from bedside.templates.render import Rendered

Span = tuple[int, int]
_CHUNK = 512  # conversations tokenized at a time


class Sample(NamedTuple):
    """Token ids of one training sequence and the `[start, end)` token spans that are trained on."""

    ids: list[int] | np.ndarray  # an array (int32) where many are made
    spans: list[Span]


@dataclass
class Encoded:
    """What one conversation became. `error` excludes samples; `overlong` is the length of the longest lost sample;
    `remark` is worth knowing and costs nothing."""

    samples: list[Sample] = field(default_factory=list)
    overlong: int = 0
    turns_dropped: int = 0
    thought: int = 0  # trained tokens that are thoughts
    error: tuple[str, str] | None = None
    remark: tuple[str, str] | None = None


@dataclass(frozen=True)
class Encoding:
    """All that turns a conversation into ids; picklable, so that workers can have it."""

    template: Template
    special_tokens: tuple[tuple[str, str], ...]  # bos_token, eos_token, ... as the tokenizer names them
    forbidden: tuple[str, ...]  # control tokens: no answer holds one as text, and in what others say they are apart
    max_length: int
    enable_thinking: bool | None = None
    mask_history: bool = False  # train the last answer only

    @property
    def names(self) -> dict[str, str]:
        return dict(self.special_tokens)


def control_tokens_of(tokenizer, template: Template) -> tuple[str, ...]:
    """What may stand in no message as text: the special tokens of a Hugging Face fast tokenizer, those it does not
    name too, and the tokens that the template writes."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    special |= {*tokenizer.all_special_tokens, *template.required_tokens, *template.extra_stops}
    return tuple(sorted(token for token in special if len(token) > 2))


def encoding_for(
    tokenizer, template: Template, max_length: int, enable_thinking: bool | None = None, mask_history: bool = False
) -> Encoding:
    """The Encoding of a Hugging Face fast tokenizer with `template`."""
    names = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    return Encoding(
        template=template,
        special_tokens=tuple(sorted(names.items())),
        forbidden=control_tokens_of(tokenizer, template),
        max_length=max_length,
        enable_thinking=enable_thinking,
        mask_history=mask_history,
    )


class NotLocated(RowError):
    """The template does not show where the answer begins and ends."""

    def __init__(self) -> None:
        super().__init__("E_TEMPLATE", "the model's own template does not show where the answer begins and ends")


def targets(conversation: Conversation, encoding: Encoding) -> Iterator[list[dict]]:
    """The message lists to render: the whole chat if one pass trains every turn, else one list a trained answer.

    Raises RowError E_NO_ANSWER where nothing is trained.
    """
    messages = conversation["messages"]
    if encoding.enable_thinking is False:
        messages = [_without_thought(message) for message in messages]
    loss.check_trained(messages, encoding.mask_history)
    if single_pass(encoding.template):
        yield messages
        return
    for index, trained in loss.trained(messages, encoding.mask_history).items():
        if trained:
            yield messages[: index + 1]


def _without_thought(message: dict) -> dict:
    if "reasoning_content" not in message:
        return message
    return {name: value for name, value in message.items() if name != "reasoning_content"}


def switches_for(messages: list[dict], encoding: Encoding) -> dict:
    """`enable_thinking` for this rendering: an answer is served, and so trained, with a thought if it has one.

    Said in both cases: some families think unless told otherwise, some only when told to.
    """
    if encoding.template.thinking == "none":
        return {}
    return {"enable_thinking": bool(messages[-1].get("reasoning_content")) and encoding.enable_thinking is not False}


def render_target(messages: list[dict], tools: list[dict] | None, encoding: Encoding) -> Rendered:
    """Text of one training sequence with the spans to train: of its trained answers, or only of the last one.

    Raises NotLocated if the template does not show where they are.
    """
    template, names, switches = encoding.template, encoding.names, switches_for(messages, encoding)
    rendered = parts.render(template, messages, tools, **names, **switches)
    if rendered.spans:
        return Rendered(rendered.text, _trained_spans(rendered.spans, messages, encoding))
    # A model's own template without generation blocks: the span is what follows the prompt that a server would send.
    prompt = template.render(messages[:-1], tools, add_generation_prompt=True, **names, **switches).text
    turn_end = turn_end_of(template, names)
    end = rendered.text.rfind(turn_end) + len(turn_end) if turn_end else -1
    if not rendered.text.startswith(prompt) or end <= len(prompt):
        raise NotLocated
    return Rendered(rendered.text, [(len(prompt), end)])


def _trained_spans(spans: list[Span], messages: list[dict], encoding: Encoding) -> list[Span]:
    """Of the spans that a template shows, those to train on."""
    if not single_pass(encoding.template):
        return spans[-1:]
    flags = list(loss.trained(messages, encoding.mask_history).values())
    if all(flags):
        return spans
    if len(spans) != len(flags):  # which span is which answer's is unknown
        raise NotLocated
    return [span for span, trained in zip(spans, flags, strict=True) if trained]


def _token_spans(encoded: ByOffsets | ByBytes, rendered: Rendered) -> list[Span]:
    """Character spans as token spans; RowError if a span does not begin and end with a token."""
    spans = []
    for start, end in rendered.spans:
        if end <= start:
            continue
        first, last = encoded.first(start), encoded.end(end)
        if first is None or last is None:
            raise RowError("E_BOUNDARY", "the answer begins inside a token; this tokenizer needs another template")
        spans.append((first, last))
    if not spans:
        raise RowError("E_NO_ANSWER", "the template renders no trained text for this row")
    return spans


def _thought_tokens(encoded: ByOffsets | ByBytes, sample: "_Waiting", spans: list[Span]) -> int:
    """How many of the trained tokens belong to thoughts, their opening included."""
    thoughts = [m["reasoning_content"].strip() for m in sample.messages if m.get("reasoning_content")]
    if not thoughts:
        return 0
    total, text = 0, sample.rendered.text
    shown = [span for span in sample.rendered.spans if span[1] > span[0]]
    for (start, end), (first, _) in zip(shown, spans, strict=True):
        found = next((thought for thought in thoughts if thought in text[start:end]), None)
        if found is not None:
            total += encoded.end(text.index(found, start, end) + len(found)) - first
    return total


def without_control(conversation: Conversation, forbidden: tuple[str, ...]) -> tuple[Conversation, str | None]:
    """The conversation with control tokens and `forbidden` texts neutralised, and the remark on what was found.

    Raises RowError W_SPECIAL if an answer holds one.
    """
    messages, tools, found = control.neutralised(conversation["messages"], conversation.get("tools"), forbidden)
    if not found:
        return conversation, None
    check_answers(conversation["messages"], forbidden)
    clean: Conversation = {"messages": messages}
    return (clean if tools is None else {**clean, "tools": tools}), control.told(found)


def without_oldest_turn(messages: list[dict]) -> list[dict] | None:
    """`messages` less the oldest question and all that answered it; None if only one question is left."""
    begin = 1 if messages[0]["role"] == "system" else 0
    for index in range(begin + 1, len(messages)):
        if messages[index]["role"] == "user":
            return messages[:begin] + messages[index:]
    return None


@dataclass(frozen=True)
class _Waiting:
    """A sample to tokenize: whose it is (number of the conversation), its messages and tools, and their text."""

    number: int
    messages: list[dict]
    tools: list[dict] | None
    rendered: Rendered


def _render_all(conversations: list[Conversation], results: list[Encoded], encoding: Encoding) -> list[_Waiting]:
    """Every sample's text; a conversation that cannot be rendered gets its error."""
    waiting: list[_Waiting] = []
    for number, conversation in enumerate(conversations):
        try:
            conversation, remark = without_control(conversation, encoding.forbidden)
            results[number].remark = ("W_SPECIAL", remark) if remark else None
            tools = conversation.get("tools")
            waiting += [
                _Waiting(number, messages, tools, render_target(messages, tools, encoding))
                for messages in list(targets(conversation, encoding))
            ]
        except RowError as error:
            results[number].error = (error.code, error.detail)
    return waiting


def _shorter(sample: _Waiting, encoding: Encoding) -> _Waiting | None:
    """`sample` without its oldest turn; None if no trained answer would be left."""
    messages = without_oldest_turn(sample.messages)
    if messages is None or not any(loss.trained(messages, encoding.mask_history).values()):
        return None
    return _Waiting(sample.number, messages, sample.tools, render_target(messages, sample.tools, encoding))


def encode_chunk(conversations: list[Conversation], tokenizer: Batches, encoding: Encoding) -> list[Encoded]:
    """What each conversation becomes: all are rendered, tokenized in one batch, and shortened if over-long."""
    results = [Encoded() for _ in conversations]
    waiting = _render_all(conversations, results, encoding)
    while waiting:
        batch = tokenizer.encode_batch([sample.rendered.text for sample in waiting])
        again: list[_Waiting] = []
        for sample, encoded in zip(waiting, batch, strict=True):
            result = results[sample.number]
            try:
                if len(encoded.ids) <= encoding.max_length:
                    spans = _token_spans(encoded, sample.rendered)
                    result.samples.append(Sample(encoded.ids, spans))
                    result.thought += _thought_tokens(encoded, sample, spans)
                elif shorter := _shorter(sample, encoding):
                    result.turns_dropped += 1
                    again.append(shorter)
                else:
                    result.overlong = max(result.overlong, len(encoded.ids))
            except RowError as error:
                result.error = (error.code, error.detail)
        waiting = again
    for result in results:
        if result.error:
            result.samples, result.overlong, result.turns_dropped, result.thought, result.remark = [], 0, 0, 0, None
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


def encode(conversations: list[Conversation], tokenizer: Tokenizer, encoding: Encoding) -> Iterator[Encoded]:
    """Encode conversations in order, in this process (`bedside.data.workers` does it in several)."""
    batches = Batches(tokenizer, many=len(conversations) > _CHUNK)
    for chunk in _chunks(conversations, _CHUNK):
        for result in encode_chunk(chunk, batches, encoding):
            result.samples = [Sample(sample.ids.tolist(), sample.spans) for sample in result.samples]
            yield result
