"""Tables that commands write into documents, between two HTML comments: `<!-- name -->` and `<!-- /name -->`."""

from pathlib import Path

from bedside.errors import ConfigError


def marks(name: str) -> tuple[str, str]:
    """The comments around what is written as `name`."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def place(path: str, name: str) -> tuple[str, str]:
    """The text of a file before and after the place called `name`; ConfigError if there is no such place."""
    opening, closing = marks(name)
    if not Path(path).is_file():
        raise ConfigError(f"--markdown {path}: no such file; give a file with {opening} and {closing} in it")
    text = Path(path).read_text(encoding="utf-8")
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        raise ConfigError(
            f"--markdown {path}: no place for the table; put the lines {opening} and {closing} where it belongs"
        )
    return before + opened, closed + after


def fill(path: str, name: str, lines: list[str]) -> None:
    """Write `lines` into the place called `name`, instead of what stands there."""
    before, after = place(path, name)
    Path(path).write_text(f"{before}\n\n" + "\n".join(lines) + f"\n\n{after}", encoding="utf-8")
