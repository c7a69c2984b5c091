"""The report of an evaluation: `report.md`, `report.html`, `report.json`, plots, and the same numbers for TensorBoard.

    content = report.of(evaluations, judged)
    report.write("results/report", content, tensorboard=True)
    print(report.terminal.text(content))

`content` computes every number once, by `bedside.evaluate.results`; `document` puts it into an order, `tables` and
`plots` into shape; `markdown` and `html` only write down.
"""

from __future__ import annotations

import json
from pathlib import Path

from bedside import wholefile
from bedside.evaluate.report import document, html, markdown, plots, record, terminal, words
from bedside.evaluate.report.content import Content, of

__all__ = ["Content", "of", "terminal", "write"]

_SHOWN = 3  # models and files that the small print of a picture names


def write(directory: Path | str, content: Content, language: str = "en", tensorboard: bool = False) -> list[Path]:
    """Write the report to `directory` and return the paths of its files, the page first.

    `language` ("en" or "zh", else ValueError) is that of report.md and of the plots' files, and the one in which the
    page opens.
    """
    if language not in markdown.LANGUAGES:
        raise ValueError(f"language is {language!r}, expected one of {', '.join(markdown.LANGUAGES)}")
    directory = Path(directory)
    (directory / "plots").mkdir(parents=True, exist_ok=True)
    pictures = plots.pictures(content, source(content), language)
    blocks = document.blocks(content, pictures)
    for old in set(directory.glob("plots/*.png")) - {directory / "plots" / f"{one.name}.png" for one in pictures}:
        if old.stem in words.PLOTS:  # of an earlier report, whose numbers are no longer these
            old.unlink()
    for picture in pictures:
        (directory / "plots" / f"{picture.name}.png").write_bytes(picture.png)
    numbers = json.dumps(record.of(content), ensure_ascii=False, indent=1, allow_nan=False)
    for name, text in (
        ("report.html", html.page(blocks, words.TITLE, language)),
        ("report.md", markdown.page(blocks, language)),
        ("report.json", numbers + "\n"),
    ):
        wholefile.write(directory / name, text, "replace")  # half of a surrogate pair cannot be written
    if tensorboard:
        write_scalars(directory / "runs", content)
    runs = ["runs"] if tensorboard else []
    return [directory / name for name in ("report.html", "report.md", "report.json", *runs)]


def source(content: Content) -> str:
    """Where a picture's numbers come from, in a line: lineage ids, data hashes, the command."""
    about = [(name, content.about[name]) for name in content.names]
    models = [f"{name} {str(one.get('lineage') or 'no lineage')[:15]}" for name, one in about[:_SHOWN]]
    models += [f"and {len(about) - _SHOWN} more"] if len(about) > _SHOWN else []
    files = {Path(str(file)).name: str(sha)[:8] for _, one in about for file, sha in (one.get("data") or {}).items()}
    data = [f"{file} {sha}" for file, sha in list(files.items())[:_SHOWN]]
    data += [f"and {len(files) - _SHOWN} more"] if len(files) > _SHOWN else []
    command = next((str(one["command"]) for _, one in reversed(about) if one.get("command")), "")
    return " | ".join(filter(None, [", ".join(models), ", ".join(data), command]))


def write_scalars(directory: Path, content: Content) -> None:
    """The estimates as TensorBoard scalars: a run a model, which holds all its measures, at the step of its place in
    the chain; written anew each time."""
    from torch.utils.tensorboard import SummaryWriter

    for step, name in enumerate(content.names):
        place = directory / (
            f"{step:02d}-" + "".join(char if char.isalnum() or char in "-_." else "-" for char in name)
        )
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(str(place)) as writer:
            for tag, value in record.scalars(content, name):
                writer.add_scalar(tag, value, step)
