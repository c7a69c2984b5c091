"""A data report as one HTML page that needs nothing else: labels in English and Chinese, no script, no remote file."""

import base64
from html import escape

from bedside.datareport.counts import Duplicates, Numbers, Report, reasons

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --blue: #2563eb; --warn: #b45309; }
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.zh { opacity: .65; font-weight: normal; margin-left: .4em } .note { opacity: .75; margin: 0 }
table { border-collapse: collapse; min-width: 55% } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top } th { font-weight: 600;
  white-space: nowrap } th.n { text-align: right }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .wrap { overflow-x: auto;
  margin-bottom: 1.2rem } .bars { display: block; width: 16rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1rem 0 }
.card { background: var(--soft); border-radius: .5rem; padding: .7rem .9rem } .card b { font-size: 1.25rem;
  white-space: nowrap;
  display: block }
.bar { display: block; background: var(--blue); height: .55rem; border-radius: .3rem; min-width: 2px;
  margin-top: .45rem }
img { max-width: 100%; height: auto; background: #fff; border-radius: .5rem } code { font-size: .9em }
.warn { color: var(--warn) }
"""
_SETS = {"training": ("Training", "训练集"), "held out": ("Held out", "留出集")}
_LANGUAGES = {"Chinese": "中文", "Latin script": "拉丁字母", "Japanese": "日文", "Korean": "韩文", "other": "其他"}


def _label(english: str, chinese: str) -> str:
    return f'{escape(english)}<span class="zh">{chinese}</span>'


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _cards(pairs: list[tuple[str, str, str]]) -> str:
    cards = "".join(f'<div class="card"><b>{escape(v)}</b>{_label(en, zh)}</div>' for v, en, zh in pairs)
    return f'<div class="cards">{cards}</div>'


def _table(head: list[tuple[str, str]], rows: list[list[str]], numeric: tuple[int, ...] = ()) -> str:
    """A table of cells that are HTML already."""
    cell = lambda column, text: f'<td class="n">{text}</td>' if column in numeric else f"<td>{text}</td>"  # noqa: E731
    body = "".join("<tr>" + "".join(cell(c, text) for c, text in enumerate(row)) + "</tr>" for row in rows)
    side = lambda column: ' class="n"' if column in numeric else ""  # noqa: E731
    heads = "".join(f"<th{side(column)}>{_label(*names)}</th>" for column, names in enumerate(head))
    return f'<div class="wrap"><table><tr>{heads}</tr>{body}</table></div>'


def _bars(title: tuple[str, str], counts: dict[str, int], names: dict[str, str] | None = None) -> str:
    total = max(1, sum(counts.values()))
    rows = [
        [_label(name, (names or {}).get(name, "")), str(count), _share(count, total),
         f'<span class="bars"><span class="bar" style="width:{100 * count / total:.1f}%"></span></span>']
        for name, count in counts.items()
    ]  # fmt: skip
    return _table([title, ("conversations", "对话数"), ("share", "占比"), ("", "")], rows, (1, 2))


def _files(report: Report) -> str:
    rows = []
    for file, account in report.files.items():
        why = "<br>".join(f"{escape(code)}: {count}" for code, count in reasons(account).most_common()) or "–"
        told = "<br>".join(f"{escape(code)}: {count}" for code, count in account.remarks.most_common()) or "–"
        rows.append([f"<code>{escape(file)}</code>", str(account.rows), str(account.kept), why, told])
    head = [
        ("file", "文件"),
        ("rows", "行数"),
        ("used", "使用"),
        ("not used, by reason", "未使用及原因"),
        ("remarks", "备注"),
    ]
    return _table(head, rows, (1, 2))


def _examples(report: Report) -> str:
    if not report.examples:
        return ""
    rows = [
        [f"<code>{escape(code)}</code>", "<br>".join(f"<code>{escape(place)}</code>" for place in places)]
        for code, places in report.examples.items()
    ]
    told = '<p class="note">Codes are explained in docs/data-formats.md. 代码含义见 docs/data-formats.md。</p>'
    return f"<h2>{_label('Where rows were lost', '未使用的行')}</h2>{told}" + _table(
        [("code", "代码"), ("first places", "前几处")], rows
    )


def _pairs(found: Duplicates, head: list[tuple[str, str]]) -> str:
    rows = [[f"<code>{escape(place)}</code>" for place in pair] for pair in found.examples]
    return _table(head, rows) if rows else ""


def _set(numbers: Numbers, report: Report) -> str:
    answers = numbers.trained - numbers.thought_tokens
    cards = [
        (f"{numbers.conversations:,}", "conversations", "对话"),
        (f"{numbers.samples:,}", "samples", "样本"),
        (f"{numbers.tokens:,}", "tokens", "词元"),
        (_share(numbers.trained, numbers.tokens), "of tokens are trained", "参与训练"),
        (_share(numbers.thoughts, len(numbers.lengths)), "of conversations have a thought", "含思考"),
        (f"{_share(numbers.thought_tokens, numbers.trained)} / {_share(answers, numbers.trained)}",
         "thought / answer, of trained tokens", "思考 / 回答"),
        (f"{numbers.duplicates.count:,}", "exact duplicates", "完全重复"),
    ]  # fmt: skip
    if numbers.used != numbers.conversations:
        cards.insert(1, (f"{numbers.used:,}", "as often as they are used", "按使用次数"))
    english, chinese = _SETS[numbers.name]
    ranks = [(f"{p} %" if p < 100 else "100 %", "") for p in numbers.percentiles]
    parts = [
        f"<h2>{_label(english, chinese)}</h2>",
        _cards(cards),
        _table(
            [("share of conversations", "对话占比"), *ranks],
            [[_label("tokens, at most", "词元数不超过"), *map(str, numbers.percentiles.values())]],
            tuple(range(1, 1 + len(ranks))),
        ),
        _bars(("answers in a conversation", "回答轮数"), numbers.turns),
        _bars(("language of the question", "提问语言"), numbers.languages, _LANGUAGES),
        _pairs(numbers.duplicates, [("says the same as an earlier row", "重复行"), ("earlier row", "先出现的行")]),
    ]
    if numbers.overlong:
        rows = [[f"<code>{escape(place)}</code>", str(size)] for place, size in numbers.overlong]
        head = [("longest that do not fit", "最长的超长行"), (f"tokens (limit {report.max_length})", "词元数")]
        parts.append(_table(head, rows, (1,)))
    return "".join(parts)


def page(report: Report, picture: bytes) -> str:
    """The page; `picture` is the PNG of lengths, which becomes a part of it."""
    image = base64.b64encode(picture).decode()
    leak = ""
    if report.also_held_out.count:
        count = report.also_held_out.count
        leak = (
            f'<p class="warn">{count} training conversations are held out too, word for word: what is measured on '
            f"them is memory. 有 {count} 条训练对话同时在留出集中，其指标只反映记忆。</p>"
        ) + _pairs(report.also_held_out, [("training row", "训练行"), ("held-out row", "留出行")])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data report</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{_label('Data report', '数据报告')}</h1>"
        f'<p class="note">template {escape(report.template)}, --max_length {report.max_length}. Rows are named by '
        f"file and line; their text is not shown. 仅以文件和行号指代数据，不显示内容。</p>"
        f"<h2>{_label('Every row', '每一行的去向')}</h2>{_files(report)}{leak}"
        f"<h2>{_label('Lengths', '长度分布')}</h2>"
        f'<img alt="histogram of lengths in tokens 词元长度直方图" src="data:image/png;base64,{image}">'
        + "".join(_set(numbers, report) for numbers in report.sets)
        + _examples(report)
        + "</body></html>\n"
    )
