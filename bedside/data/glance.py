"""A first look at a run's files: what makes a file unusable is told at once, before anything heavy is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bedside.data import admit, build, chats
from bedside.data.ledger import Ledger
from bedside.errors import DataError

Convert = Callable[[Any, dict[str, str] | None], Any]
ROWS = 1000  # of each file; more of them are judged when the data is made


def glance(plan: chats.Plan, output: Path | None = None, convert: Convert = admit.conversation) -> None:
    """Read the first rows of every file and forget them; `convert` makes a record of a row and the names of roles.

    Raises DataError for an unusable file and, where all rows of a set were seen, if too many are bad; the list of
    these is left in `output`.
    """
    accounts = (Ledger(), Ledger())
    with chats.rejections(output, accounts):
        _look(plan.train, accounts[0], plan, convert, "training data")
        _look(plan.validation, accounts[1], plan, convert, "validation data")


def _look(sources: list[build.Source], ledger: Ledger, plan: chats.Plan, convert: Convert, what: str) -> None:
    whole = True
    for source in sources:
        before = ledger.total().rows
        for _ in build.read_records(
            [source], lambda row: convert(row, plan.reading.roles), ledger, plan.reading, most=ROWS
        ):
            pass
        whole = whole and ledger.total().rows - before < ROWS
    if not whole:
        return
    try:
        ledger.check_rate(plan.max_bad_rate)
    except DataError:
        chats.report(ledger, what)
        raise
