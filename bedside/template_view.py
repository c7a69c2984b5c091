"""What `python -m bedside.templates list` and `show` print: the registry as a table, and chats as they are trained."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bedside import models, templates
from bedside.data import build, files, records, tokens
from bedside.data.conversation import Conversation, RowError
from bedside.data.rows import Fault, Origin
from bedside.errors import ConfigError
from bedside.templates import Template

_HEADS = ("name", "for", "thinking", "an answer ends with", "reasoning parser", "tool format, parser", "also called")
_EOS = "the tokenizer's EOS"
_STANDING_IN = {"bos_token": "<bos>", "eos_token": "<eos>"}  # where no tokenizer is given
_UNLIMITED = 1 << 30  # tokens: a chat is shown whole
_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"


def as_dict(template: Template) -> dict:
    """What `list --json` tells of one template."""
    fields = (
        "name", "family", "aliases", "thinking", "turn_end", "extra_stops", "required_tokens", "reasoning_parser",
        "tool_format", "tool_parser",
    )  # fmt: skip
    return {field: getattr(template, field) for field in fields}


def stand_ins() -> list[dict]:
    """Names without a file of their own: which template stands in, and why."""
    return [
        {"name": name, "target": target, "reason": reason}
        for name, (target, reason) in sorted(templates.STAND_INS.items())
    ]


def registry_json() -> str:
    """The registry and the stand-ins as one JSON object."""
    rows = [as_dict(template) for template in templates.REGISTRY.values()]
    return json.dumps({"templates": rows, "stand_ins": stand_ins()}, ensure_ascii=False, indent=1)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(template: Template) -> tuple[str, ...]:
    tools = ", ".join(filter(None, (template.tool_format, template.tool_parser)))
    return (
        template.name,
        template.family,
        template.thinking,
        _EOS if template.turn_end == "eos_token" else template.turn_end,
        template.reasoning_parser or "-",
        tools or "-",
        ", ".join(template.aliases),
    )


def registry_table() -> str:
    """The registry as a table for people, then the stand-ins with their reasons."""
    lines = aligned([_HEADS, *map(_cells, templates.REGISTRY.values())])
    others = stand_ins()
    if others:
        rows = [(f"  {item['name']}", f"-> {item['target']}", item["reason"]) for item in others]
        lines += ["", "names that another template stands in for:", *aligned(rows)]
    return "\n".join([*lines, "", "one in detail: python -m bedside.templates show NAME"])


def registry_markdown() -> list[str]:
    """The registry as the lines of a Markdown table."""
    lines = ["| name | for | thinking | an answer ends with | tools | also called |", "| --- " * 6 + "|"]
    for template in templates.REGISTRY.values():
        name, family, thinking, end, _, tools, aliases = _cells(template)
        end = end if end == _EOS else f"`{end}`".replace("|", "\\|")
        called = ", ".join(f"`{alias}`" for alias in aliases.split(", ") if alias)
        lines.append(f"| `{name}` | {family} | {thinking} | {end} | {tools.split(', ')[0]} | {called} |")
    return lines


class Subject(NamedTuple):
    """What is shown: a template, the tokenizer to count with (or None), and where the template stands."""

    template: Template
    tokenizer: Any
    file: Path


def subject(name: str, tokenizer_path: str | None, tool_format: str | None) -> Subject:
    """The template called `name`, or the one saved in the model directory `name`.

    Raises ConfigError for an unknown name, and for a tokenizer that lacks what the template needs.
    """
    if Path(name).is_dir():
        tokenizer = models.load_tokenizer(tokenizer_path or name)
        template = models.install_template(tokenizer, None, tool_format)
        file = Path(name) / "chat_template.jinja"
        return Subject(template, tokenizer, file if file.is_file() else Path(name) / "tokenizer_config.json")
    if os.sep in name:
        raise ConfigError(f"{name}: no such directory; expected a model's directory, or the name of a template")
    template, tokenizer = templates.get(name, tool_format), None
    if tokenizer_path:
        tokenizer = models.load_tokenizer(tokenizer_path)
        template = models.install_template(tokenizer, name, tool_format)
    return Subject(template, tokenizer, Path(templates.__file__).parent / f"{template.name}.jinja")


def example(template: Template) -> Conversation:
    """A chat in two languages: thoughts where the template has them, a tool call where it has a format for one."""
    first: dict = {"role": "assistant", "content": "先量体温和血压，多休息；若伴呕吐或视物模糊，请尽快就医。"}
    last: dict = {"role": "assistant", "content": "Yes, it is above normal. Rest, and measure it again tomorrow."}
    if template.thinking != "none":
        first["reasoning_content"] = "先排除急症：发热、呕吐、视物模糊。"
        last["reasoning_content"] = "Normal is below 130/85, so 150/95 is high, but no emergency."
    messages = [
        {"role": "system", "content": "你是一名医生助手。Answer in the language of the question."},
        {"role": "user", "content": "头痛两天了，怎么办？"},
        first,
        {"role": "user", "content": "My blood pressure is 150/95. Is that high?"},
    ]
    if not template.tool_format:
        return {"messages": [*messages, last]}
    call = {"type": "function", "function": {"name": "normal_range", "arguments": {"measure": "blood pressure"}}}
    parameters = {"type": "object", "properties": {"measure": {"type": "string"}}, "required": ["measure"]}
    function = {"name": "normal_range", "description": "What is normal for a measure", "parameters": parameters}
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": '{"normal": "below 130/85 mmHg"}'},
        last,
    ]
    return {"messages": messages, "tools": [{"type": "function", "function": function}]}


def row_of(path: str, number: int | None, reading: build.Reading) -> tuple[Origin, Conversation | RowError]:
    """Row `number` of a file (default: its first), as messages count it: lines, or the items of a JSON array.

    The conversation, or why a stage would drop the row. Raises ConfigError if there is no such row.
    """
    if Path(path).is_dir():
        raise ConfigError(f"--data {path}: a directory, expected one file")
    (file,), last = files.find(path), 0
    for item in files.read(file, reading.encoding, reading.columns):
        if isinstance(item, Fault) and item.code.startswith("I_"):
            continue
        last = item.origin.line if item.origin.item is None else item.origin.item
        if number is not None and last != number:
            continue
        if isinstance(item, Fault):
            return item.origin, RowError(item.code, item.detail)
        try:
            return item.origin, records.to_conversation(item.value, reading.roles)
        except RowError as error:
            return item.origin, error
    raise ConfigError(f"--row {number}: {file} has no row there; its last one is {last}")


class Shown(NamedTuple):
    """A training sample: text and trained spans in characters and, with a tokenizer, ids and spans in tokens."""

    text: str
    spans: list[tuple[int, int]]
    ids: list[int] | None
    id_spans: list[tuple[int, int]]


def encoding_of(shown: Subject, enable_thinking: bool | None, mask_history: bool = False) -> tokens.Encoding:
    """How a stage would encode with this template; without a tokenizer, `<bos>` and `<eos>` stand in for its own."""
    if shown.tokenizer is not None:
        return tokens.encoding_for(shown.tokenizer, shown.template, _UNLIMITED, enable_thinking, mask_history)
    names = tuple(_STANDING_IN.items())
    return tokens.Encoding(shown.template, names, (), _UNLIMITED, enable_thinking, mask_history)


def samples(conversation: Conversation, tokenizer: Any, encoding: tokens.Encoding) -> tuple[list[Shown], str | None]:
    """Every sample that a stage would make of the conversation, and its remark on the row if there is one.

    Raises RowError, which says why a stage would make none.
    """
    clean, remark = tokens.without_control(conversation, encoding.forbidden)
    wanted = tokens.targets(clean, encoding)
    rendered = [tokens.render_target(messages, clean.get("tools"), encoding) for messages in wanted]
    if tokenizer is None:
        return [Shown(item.text, item.spans, None, []) for item in rendered], remark
    (encoded,) = tokens.encode([conversation], tokenizer.backend_tokenizer, encoding)
    if encoded.error:
        raise RowError(*encoded.error)
    pairs = zip(rendered, encoded.samples, strict=True)
    return [Shown(text, spans, sample.ids, sample.spans) for (text, spans), sample in pairs], remark


@dataclass(frozen=True)
class Marks:
    """What is written around trained text."""

    open: str
    close: str


def marks_for(color: str, text: str) -> Marks:
    """Colour for a terminal (`auto`, unless NO_COLOR is set) or `always`, else brackets that `text` does not hold."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if color == "always" or color == "auto" and wanted:
        return Marks(_GREEN, _PLAIN)
    times = next(n for n in range(1, len(text) + 2) if "⟦" * n not in text and "⟧" * n not in text)
    return Marks("⟦" * times, "⟧" * times)


def _visible(text: str) -> str:
    """Control characters of the data by their codes, so that they do nothing to the terminal."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else f"\\x{ord(letter):02x}"
        for letter in text
    )


def marked(text: str, spans: list[tuple[int, int]], marks: Marks) -> str:
    """`text` with its trained spans between marks; colours are set anew on each line, as pagers need them."""
    pieces, position = [], 0
    between = f"{marks.close}\n{marks.open}" if marks.open == _GREEN else "\n"
    for start, end in spans:
        trained = _visible(text[start:end]).replace("\n", between)
        pieces += [_visible(text[position:start]), marks.open, trained, marks.close]
        position = end
    return "".join([*pieces, _visible(text[position:])])


def _shortened(ids: list[int], first: int) -> str:
    """The first ids and the last one, the number of those between them told."""
    if len(ids) <= first + 2:
        return " ".join(map(str, ids))
    return f"{' '.join(map(str, ids[:first]))} ..{len(ids) - first - 1}.. {ids[-1]}"


def ids_line(shown: Shown, marks: Marks) -> str:
    """`N tokens, M trained:` and the ids, the trained ones between marks, long runs shortened."""
    pieces, position = [], 0
    for start, end in shown.id_spans:
        pieces += [
            _shortened(shown.ids[position:start], 8),
            marks.open + _shortened(shown.ids[start:end], 6) + marks.close,
        ]
        position = end
    pieces.append(_shortened(shown.ids[position:], 8))
    trained = sum(end - start for start, end in shown.id_spans)
    return f"{len(shown.ids)} tokens, {trained} trained: {' '.join(filter(None, pieces))}"


def facts(shown: Subject, encoding: tokens.Encoding, made: int) -> dict[str, str]:
    """What a server and a trainer need to know about the template, by label; `made` is the number of samples."""
    template = shown.template
    end = templates.turn_end_of(template, encoding.names)
    several = f"N, one an answer ({made} here): as history an answer reads otherwise than as the last turn"
    file, here = shown.file.resolve(), Path.cwd()
    return {
        "turn end": end + (f" ({_EOS})" if template.turn_end == "eos_token" else ""),
        "stops": " ".join(dict.fromkeys((end, *template.extra_stops))),
        "reasoning parser": template.reasoning_parser or "none",
        "tool format": template.tool_format or "none: rows with tools are refused, unless --tool_format gives one",
        "tool parser": template.tool_parser or "none",
        "samples per chat": "1, a single pass" if templates.single_pass(template) else several,
        "file": str(file.relative_to(here) if file.is_relative_to(here) else shown.file),
    }


def page(shown: Subject, made: list[Shown], encoding: tokens.Encoding, color: str, source: str) -> str:
    """The whole output of `show`: samples with trained text marked, then the facts."""
    marks = marks_for(color, "".join(sample.text for sample in made))
    how = "in green" if marks.open == _GREEN else f"between {marks.open} and {marks.close}"
    lines = [f"{shown.template.name}: {source}; what is trained stands {how}"]
    for number, sample in enumerate(made, 1):
        lines += ["", f"--- sample {number} of {len(made)} ---", marked(sample.text, sample.spans, marks).rstrip("\n")]
        if sample.ids is not None:
            lines += ["", f"ids: {ids_line(sample, marks)}"]
    lines += ["", *aligned([(f"{label}:", text) for label, text in facts(shown, encoding, len(made)).items()])]
    if shown.tokenizer is None and any("<bos>" in sample.text or "<eos>" in sample.text for sample in made):
        lines.append("<bos> and <eos> stand for a tokenizer's own; --tokenizer DIR shows them, and token ids")
    return "\n".join(lines)
