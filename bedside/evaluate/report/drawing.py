"""One drawing twice: as PNG for Markdown, as SVG that takes the page's colours and speaks both its languages."""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from bedside.evaluate.report.blocks import Picture
from bedside.evaluate.said import Said

BLUE, ORANGE, GREEN, PURPLE = "#2563eb", "#ea580c", "#16a34a", "#9333ea"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#0891b2", "#db2777", "#ca8a04", "#64748b")
GREY = "#9ca3af"
_INK, _STANDS_IN = "#1b2430", "#010203"  # the second becomes the colour of the page's text
_DPI = 120
_SMALL_PRINT = 19  # characters of it an inch
# Fonts with Chinese characters, of which a machine may have one.
_CHINESE = ("Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "SimHei", "Noto Sans SC",
            "WenQuanYi Micro Hei", "Noto Serif CJK SC", "Noto Sans CJK JP", "Noto Serif CJK JP")  # fmt: skip
_NOT_DRAWN = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)


def picture(
    name: str,
    caption: Said,
    draw: Callable[[Any, Callable[[Said], str]], None],
    size: tuple[float, float],
    source: str = "",
    language: str = "en",
) -> Picture:
    """The picture that `draw(figure, word)` makes; `word` gives a label in the language of this drawing. `source` is
    written below the PNG, which may be copied away from its report."""
    labels: dict[str, str] = {}

    def remembered(said: Said) -> str:
        labels[said.en] = said.zh
        return said.en

    chinese = _chinese_font()
    spoken = 1 if language == "zh" and chinese else 0
    png = _drawn(draw, lambda said: said[spoken], size, "png", name, chinese, source)
    svg = _drawn(draw, remembered, size, "svg", name, chinese, "")
    return Picture(name, caption, _inline(svg.decode("utf-8"), name, labels), png, source)


def written(axes: Any) -> None:
    """Take every text of these axes as it stands: a dollar in a model's name begins no formula."""
    from matplotlib.text import Text

    for text in axes.findobj(Text):
        text.set_parse_math(False)


def _chinese_font() -> str | None:
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CHINESE if name in known), None)


def _drawn(draw: Callable, word: Callable, size: tuple, kind: str, name: str, chinese: str | None, foot: str) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink = _INK if kind == "png" else _STANDS_IN
    style = {"font.family": ["DejaVu Sans", *([chinese] if chinese else [])], "font.size": 9, "axes.titlesize": 9,
             "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink, "axes.edgecolor": ink,
             "svg.fonttype": "none", "svg.hashsalt": name, "axes.unicode_minus": True}  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        (FigureCanvasAgg if kind == "png" else FigureCanvasSVG)(figure)
        draw(figure, word)
        for axes in figure.axes:
            written(axes)
        if foot:
            lines = "\n".join(textwrap.wrap(foot, int(size[0] * _SMALL_PRINT))[:4])
            figure.supxlabel(lines, fontsize=6, color=GREY, x=0.01, ha="left").set_parse_math(False)
        sink = io.BytesIO()
        if kind == "png":
            figure.savefig(sink, format="png", dpi=_DPI, metadata={"Description": foot, "Software": "bedside"})
        else:
            figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None})
    return sink.getvalue()


def _inline(svg: str, name: str, labels: Mapping[str, str]) -> str:
    """The SVG as a part of an HTML page: names of its own, the page's colour for ink, labels in both languages."""
    svg = _NOT_DRAWN.sub("", svg[svg.index("<svg") :])
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(_STANDS_IN, "currentColor")
    for english, chinese in labels.items():
        if english == chinese:
            continue
        both = f'<tspan lang="en">{html.escape(english)}</tspan><tspan lang="zh">{html.escape(chinese)}</tspan>'
        for escaped in dict.fromkeys((html.escape(english, quote=False), html.escape(english))):
            svg = svg.replace(f">{escaped}</text>", f">{both}</text>")
    return svg
