"""Multiple choice by probability: which option's letter, or text, does the model hold most likely as its answer?

By letter: the options stand in the question, and the letter is the next token behind the template's prompt; where the
model thinks, its thought is empty and closed. By text: the question stands alone, and each option's text is weighed as
the answer (Brown et al. 2020, section 2.4), as it is and per byte, which does not favour short options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import bedside.evaluate.choice.asking as asking
from bedside.data import tokens
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.evaluate.choice.logprobs import Row, of_rows
from bedside.evaluate.choice.question import Order, Question, agreement, named, orders
from bedside.evaluate.task import Settings, Weights

LETTER, TEXT = "letter", "text"


class Weighed(NamedTuple):
    """The options of one order: the log-probability (nats) of each, in the order of the letters."""

    order: Order
    nats: list[float]


@dataclass(frozen=True)
class Scored:
    """One question: its orders, or why there are none. `bytes` are the lengths of the options where texts were
    weighed."""

    weighed: list[Weighed] = field(default_factory=list)
    bytes: list[int] | None = None
    problem: str | None = None


class Frame(NamedTuple):
    """What stands around an answer's text in its trained span: `lead` tokens before it and `tail` behind; and the
    tokens of each letter there."""

    lead: int
    tail: int
    letters: dict[str, tuple[int, ...]]


def run(weights: Weights, questions: Sequence[Question], settings: Settings) -> list[Scored | None]:
    """The questions scored; None for those with several right answers, which likelihood cannot tell.

    Raises ConfigError where the template or the tokenizer does not let an answer be told from its prompt.
    """
    by_text = settings.options.get("choice_score") == TEXT
    one = [question for question in questions if not question.several]
    try:
        around = frame(weights, asking.chat("?", settings.system), sorted({a for q in one for a in q.letters} or "AB"))
    except RowError as error:
        raise ConfigError(
            f"multiple choice by likelihood: {error.detail}; give --template_name, or take --choice_by generation"
        ) from None
    scored = iter((_by_text if by_text else _by_letter)(weights, one, settings, around))
    return [None if question.several else next(scored) for question in questions]


def _encoded(weights: Weights, chats: Sequence[list[dict]], answers: Sequence[str]) -> list[tokens.Encoded]:
    """Chats with these answers as token ids, as training would have them."""
    given = [
        {"messages": [*chat, {"role": "assistant", "content": answer}]}
        for chat, answer in zip(chats, answers, strict=True)
    ]
    return list(tokens.encode(given, weights.tokenizer.backend_tokenizer, weights.encoding))


def frame(weights: Weights, chat: list[dict], letters: Sequence[str]) -> Frame:
    """The frame of answers to this chat; RowError where the letters do not stand behind one and the same text."""
    prompts, spans = [], []
    for one in _encoded(weights, [chat] * len(letters), letters):
        sample = _sample(one)
        start, end = sample.spans[-1]
        prompts.append(sample.ids[:start])
        spans.append(sample.ids[start:end])
    if any(prompt != prompts[0] for prompt in prompts):
        raise RowError("E_BOUNDARY", "the letter changes the tokens in front of it")
    lead, tail = _common(spans), 0
    rest = [list(reversed(span[lead:])) for span in spans]
    tail = min(_common(rest), min(map(len, rest)) - 1)
    return Frame(lead, tail, {
        letter: tuple(span[lead : len(span) - tail]) for letter, span in zip(letters, spans, strict=True)
    })  # fmt: skip


def _common(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with."""
    return next((i for i, column in enumerate(zip(*rows, strict=False)) if len(set(column)) > 1), min(map(len, rows)))


def _sample(one: tokens.Encoded) -> tokens.Sample:
    if one.error:
        raise RowError(*one.error)
    if not one.samples:
        raise RowError("W_OVERLONG", f"the question has {one.overlong} tokens, more than the model's context")
    return one.samples[-1]


def _by_letter(weights: Weights, questions: Sequence[Question], settings: Settings, around: Frame) -> list[Scored]:
    asked = [
        (number, order)
        for number, question in enumerate(questions)
        for order in orders(question, settings.options.get("choice_permutations"), settings.seed)
    ]
    chats = [asking.chat(asking.text(questions[number], order), settings.system) for number, order in asked]
    first = [questions[number].letters[0] for number, _ in asked]
    rows: list[Row] = []
    made: list[tuple[int, Order, list[list[tuple[int, int]]]]] = []
    scored = [Scored() for _ in questions]
    for (number, order), chat, letter, one in zip(asked, chats, first, _encoded(weights, chats, first), strict=True):
        try:
            sample, own = _sample(one), around
            begin = sample.spans[-1][0] + own.lead
            if tuple(sample.ids[begin : begin + len(own.letters[letter])]) != own.letters[letter]:
                own = frame(weights, chat, questions[number].letters)
                begin = sample.spans[-1][0] + own.lead
        except RowError as error:
            scored[number] = Scored(problem=f"{error.code} {error.detail}")
            continue
        made.append((number, order, _letter_rows(rows, sample.ids[:begin], own, questions[number].letters)))
    values = of_rows(weights.model, weights.tokenizer.pad_token_id, rows, settings.batch, "multiple choice by letter")
    for number, order, spots in made:
        nats = [sum(values[row][place] for row, place in spot) for spot in spots]
        scored[number].weighed.append(Weighed(order, nats))
    return scored


def _letter_rows(
    rows: list[Row], prompt: list[int], own: Frame, letters: Sequence[str]
) -> list[list[tuple[int, int]]]:
    """Adds what has to be computed for one order to `rows`; where each letter's parts will be found in them."""
    each = [own.letters[letter] for letter in letters]
    if all(len(ids) == 1 for ids in each):
        rows.append(Row(prompt, [(len(prompt) - 1, ids[0]) for ids in each]))
        return [[(len(rows) - 1, place)] for place in range(len(each))]
    spots = []
    for ids in each:  # letters of several tokens need a row each
        rows.append(Row([*prompt, *ids], [(len(prompt) - 1 + i, token) for i, token in enumerate(ids)]))
        spots.append([(len(rows) - 1, place) for place in range(len(ids))])
    return spots


def _by_text(weights: Weights, questions: Sequence[Question], settings: Settings, around: Frame) -> list[Scored]:
    asked = [(number, text) for number, question in enumerate(questions) for _, text in question.options]
    chats = [asking.chat(questions[number].text, settings.system) for number, _ in asked]
    rows: list[Row] = []
    problems: dict[int, str] = {}
    for (number, _), one in zip(asked, _encoded(weights, chats, [text for _, text in asked]), strict=True):
        try:
            sample = _sample(one)
        except RowError as error:
            problems[number] = f"{error.code} {error.detail}"
            rows.append(Row([0], []))
            continue
        start, end = sample.spans[-1][0] + around.lead, sample.spans[-1][1] - around.tail
        rows.append(Row(sample.ids[:end], [(place - 1, sample.ids[place]) for place in range(start, end)]))
    values = of_rows(weights.model, weights.tokenizer.pad_token_id, rows, settings.batch, "multiple choice by text")
    nats = iter(math.fsum(value) for value in values)
    scored = []
    for number, question in enumerate(questions):
        weighed = [Weighed(tuple(range(len(question.options))), [next(nats) for _ in question.options])]
        sizes = [len(text.encode()) for _, text in question.options]
        problem = problems.get(number)
        scored.append(Scored(problem=problem) if problem else Scored(weighed, sizes))
    return scored


def best(values: Sequence[float]) -> list[int]:
    """The places of the highest value; several where they are equal."""
    return [place for place, value in enumerate(values) if value == max(values)]


def _credit(question: Question, order: Order, values: Sequence[float]) -> float:
    """1 for the right option alone in front; of several that are equal, the share that a coin would give."""
    chosen = best(values)
    right = sum(named(question, order, [question.letters[place]]) <= question.right for place in chosen)
    return right / len(chosen)


def values(question: Question, scored: Scored | None) -> dict[str, float | None]:
    """The measures of one question, each the mean over its orders; a question that does not fit the model is wrong."""
    names = ("accuracy_likelihood", "accuracy_normalised", "probability", "letter_mass", "consistent_likelihood",
             "position_bias_likelihood")  # fmt: skip
    made: dict[str, float | None] = dict.fromkeys(names)
    if scored is None:
        return made
    if scored.problem:
        return {**made, "accuracy_likelihood": 0.0, "probability": 0.0}
    number, letters = len(scored.weighed), question.letters
    made["accuracy_likelihood"] = sum(_credit(question, *one) for one in scored.weighed) / number
    shares = [_shares(one.nats) for one in scored.weighed]
    made["probability"] = (
        sum(
            share
            for one, parts in zip(scored.weighed, shares, strict=True)
            for letter, share in zip(letters, parts, strict=True)
            if named(question, one.order, [letter]) <= question.right
        )
        / number
    )
    if scored.bytes:
        nats = scored.weighed[0].nats
        per_byte = [value / size for value, size in zip(nats, scored.bytes, strict=True)]
        made["accuracy_normalised"] = _credit(question, scored.weighed[0].order, per_byte)
        return made
    made["letter_mass"] = sum(math.fsum(map(math.exp, one.nats)) for one in scored.weighed) / number
    chosen = letters_of(question, scored)
    moved = agreement(chosen, [named(question, one.order, c) for one, c in zip(scored.weighed, chosen, strict=True)])
    if moved:
        made["consistent_likelihood"], made["position_bias_likelihood"] = moved
    return made


def letters_of(question: Question, scored: Scored) -> list[frozenset[str]]:
    """The letter chosen in each order; none where several are equally likely."""
    places = [best(one.nats) for one in scored.weighed]
    return [frozenset(question.letters[place] for place in one) if len(one) == 1 else frozenset() for one in places]


def _shares(nats: Sequence[float]) -> list[float]:
    """Probabilities among the options alone."""
    most = max(nats)
    parts = [math.exp(value - most) for value in nats]
    return [part / sum(parts) for part in parts]


def told(question: Question, scored: Scored | None) -> dict[str, Any]:
    """What a reader wants to see of one question."""
    if scored is None:
        return {"likelihood": "several right answers: scored by what is written only"}
    if scored.problem:
        return {"likelihood": scored.problem}
    chosen = letters_of(question, scored)
    return {
        "letters_likelihood": ["".join(sorted(one)) for one in chosen],
        "chosen_likelihood": [
            "".join(sorted(named(question, one.order, letters)))
            for one, letters in zip(scored.weighed, chosen, strict=True)
        ],
        "nats": [[round(value, 4) for value in one.nats] for one in scored.weighed],
    }
