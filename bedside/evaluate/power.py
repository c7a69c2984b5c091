"""What a comparison could not have seen: the sentence that belongs beside "no clear change"."""

from __future__ import annotations

from bedside.evaluate.results import UNCLEAR, Change
from bedside.evaluate.said import Said
from bedside.evaluate.statistics import FEWEST
from bedside.evaluate.task import PERPLEXITY, SHARE


def sentence(change: Change) -> Said | None:
    """How small a change these items cannot tell from chance; None where the change is clear.

    >>> from bedside.evaluate.task import Measure
    >>> sentence(Change(Measure("ok", "right", "正确"), 30, change=0.1, detectable=0.18)).en
    'with 30 items a difference below 18 points cannot be told from chance reliably (80 % power)'
    """
    if change.verdict != UNCLEAR:
        return None
    n = change.n
    if n < FEWEST:
        items = f"{n} {'item' if n == 1 else 'items'}" if n else "no item in common"
        return Said(
            f"with {items} no difference can be told from chance: at least {FEWEST} are needed",
            f"共同题目为 {n}，任何差异都无法与偶然区分：至少需要 {FEWEST} 题",
        )
    if change.detectable is None:
        return Said(
            f"none of these {n} items says how much a difference varies, so none can be told from chance",
            f"这 {n} 题的差异没有离散度，无法判断多大的差异可与偶然区分",
        )
    size = amount(change)
    return Said(
        f"with {n} items a difference below {size.en} cannot be told from chance reliably (80 % power)",
        f"{n} 题时，小于 {size.zh} 的差异无法可靠地与偶然区分（检出力 80 %）",
    )


def amount(change: Change) -> Said:
    """The detectable difference in the unit of the change: points of a share, per cent of a perplexity."""
    if change.measure.kind == SHARE:
        return Said(f"{_short(100 * change.detectable)} points", f"{_short(100 * change.detectable)} 个百分点")
    if change.measure.kind == PERPLEXITY:
        return Said(*[f"{_short(100 * change.detectable)} %"] * 2)
    return Said(*[f"{_short(change.detectable)} {change.measure.unit}".strip()] * 2)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
