"""Blocks of a report as one HTML page: nothing is loaded, no script runs, both languages are in it."""

from __future__ import annotations

from collections.abc import Sequence

import bedside.evaluate.report.words as words
from bedside.chatpage.safe import escaped
from bedside.evaluate.report.blocks import (
    ARROWS,
    Block,
    Cell,
    Folded,
    Heading,
    Names,
    Pair,
    Picture,
    Side,
    Table,
    Text,
)
from bedside.evaluate.report.style import CSS
from bedside.evaluate.said import Said

# What a browser may do with the page: draw it. A text that got past the escaping could still load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(blocks: Sequence[Block], title: Said, language: str = "en") -> str:
    """The whole page; it opens in `language`, and the other one is a click away."""
    checked = {name: " checked" if name == language else "" for name in ("en", "zh")}
    links = "".join(
        f'<a href="#{escaped(block.anchor)}">{both(block.text)}</a>'
        for block in blocks
        if isinstance(block, Heading) and block.level == 2 and block.anchor
    )
    body = "".join(_block(block) for block in blocks)
    head, _, rest = body.partition("</h1>")
    return (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><title>{escaped(title.en)} · {escaped(title.zh)}</title>'
        f"<style>{CSS}</style></head><body>"
        f'<input class="pick" type="radio" name="language" id="to-en" aria-label="English"{checked["en"]}>'
        f'<input class="pick" type="radio" name="language" id="to-zh" aria-label="中文"{checked["zh"]}>'
        '<main><div class="bar"><label for="to-en">English</label> <label for="to-zh">中文</label></div>'
        f"{head}</h1><nav>{links}</nav>{rest}</main></body></html>\n"
    )


def both(said: Said) -> str:
    """The words in both languages, of which the page shows one; once where they are the same.

    >>> both(Said("<n>", "<n>"))
    '&lt;n&gt;'
    """
    english, chinese = (_kept(escaped(text)) for text in said)
    return english if said.en == said.zh else f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'


def _kept(text: str) -> str:
    """A number stays with its per cent."""
    return text.replace(" %", "\u00a0%")


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        anchor = f' id="{escaped(block.anchor)}"' if block.anchor else ""
        return f"<h{block.level}{anchor}>{both(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        role = ' role="alert"' if block.mark == "warn" else ""
        return f'<p class="{escaped(block.mark)}"{role}>{both(block.text)}</p>'
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        return _picture(block)
    if isinstance(block, Pair):
        return _pair(block)
    if isinstance(block, Names):
        return "<p>" + "<br>".join(f"<code>{escaped(name)}</code>" for name in block.names) + "</p>"
    return _folded(block)


def _folded(block: Folded) -> str:
    inner = "".join(_block(part) for part in block.blocks)
    return f"<details><summary>{both(block.summary)}</summary>{inner}</details>"


def _picture(block: Picture) -> str:
    source = f"<br>{escaped(block.source)}" if block.source else ""
    return (
        f'<figure><div class="wrap">{block.svg}</div><figcaption>{both(block.caption)}{source}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    side = lambda column: ' class="n"' if column >= table.numbers else ""  # noqa: E731
    head = "".join(f'<th scope="col"{side(column)}>{both(name)}</th>' for column, name in enumerate(table.head))
    rows = "".join(_row(row, table) for row in table.rows)
    return f'<div class="wrap" tabindex="0"><table><tr>{head}</tr>{rows}</table></div>'


def _row(row: Sequence[Cell], table: Table) -> str:
    if len(row) == 1 and len(table.head) > 1:  # names what follows
        return f'<tr class="head"><td colspan="{len(table.head)}">{both(row[0].text)}</td></tr>'
    cells = []
    for column, cell in enumerate(row):
        names = (["n"] if column >= table.numbers else []) + ([cell.mark] if cell.mark else [])
        side = f' class="{escaped(" ".join(names))}"' if names else ""
        cells.append(f"<td{side}>{_cell(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _cell(cell: Cell) -> str:
    if cell.code:
        return "<br>".join(f"<code>{escaped(line)}</code>" for line in cell.text.en.splitlines())
    mark = f" {ARROWS[cell.mark]}" if cell.mark in ARROWS else ""
    return both(cell.text).replace("\n", "<br>") + mark


def _pair(pair: Pair) -> str:
    where = f" <code>{escaped(pair.where)}</code>" if pair.where else ""
    expected = f'{_label(words.EXPECTED)}<p class="text">{escaped(pair.expected)}</p>' if pair.expected else ""
    return (
        f'<div class="case"><p><b>{both(pair.head)}</b>{where}</p>{_label(words.QUESTION)}'
        f'<p class="text">{escaped(pair.question)}</p>{expected}'
        f'<div class="sides">{"".join(_side(side) for side in pair.sides)}</div></div>'
    )


def _side(side: Side) -> str:
    note = f'<p class="note">{both(side.note)}</p>' if side.note.en else ""
    thought = ""
    if side.thought:
        thought = f'{_label(words.THOUGHT)}<p class="text thought">{escaped(side.thought)}</p>'
    answer = escaped(side.answer) if side.answer else both(words.NO_ANSWER)
    head = f"<p><b>{escaped(side.name)}</b></p>{note}{thought}"
    return f'<div>{head}{_label(words.ANSWER)}<p class="text">{answer}</p></div>'


def _label(said: Said) -> str:
    return f'<p class="label">{both(said)}</p>'
