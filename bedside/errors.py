"""The two kinds of mistake a user can make, and how a command ends when one is made."""

import errno
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

# Exit status of every command for a mistake in its input, and for "ran, and the check failed".
USER_MISTAKE, CHECK_FAILED = 2, 1


class UserError(Exception):
    """Something the user can mend. The text says what was found, what was expected and what to do."""

    status = USER_MISTAKE


class ConfigError(UserError):
    """Flags, recipes or models that do not fit together; all problems at once."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(UserError):
    """A data file that cannot be used. `where` is `file:line` (or the file alone)."""

    def __init__(self, code: str, where: str, detail: str):
        self.code, self.where, self.detail = code, where, detail
        super().__init__(f"{where}: {code} {detail}")


class LineageError(UserError):
    """A model directory that is not what it says it is, or a chain that would lose a stage's training."""


class Alarmed(UserError):
    """A training that goes wrong while it runs, stopped by one of its measures; what was saved so far is intact."""

    status = CHECK_FAILED


def _storage_sentence(error: OSError) -> str:
    """One sentence with a remedy for an OSError that a full, read-only or missing place causes."""
    remedies = {
        errno.ENOSPC: "the disk is full; free space or choose another --output_dir",
        errno.EDQUOT: "the disk quota is used up; free space or choose another --output_dir",
        errno.EACCES: "permission denied; choose a directory you may write to, or ask its owner",
        errno.EPERM: "permission denied; choose a directory you may write to, or ask its owner",
        errno.EROFS: "the file system is read-only; choose another --output_dir",
        errno.ENOENT: "no such file or directory; check the path",
        errno.ENOTDIR: "a part of the path is a file, not a directory; check the path",
    }
    place = error.filename or "while reading or writing"
    return f"{place}: {remedies.get(error.errno, error.strerror or str(error))}"


def run_command(main: Callable[[], object]) -> NoReturn:
    """Run a script's `main` and exit: with 0, or with a sentence (never a traceback) and 2, or 1 after an alarm."""
    try:
        status = main()
    except UserError as mistake:
        for line in str(mistake).splitlines():
            sys.stderr.write(f"error: {line}\n")
        sys.exit(mistake.status)
    except OSError as error:
        if error.errno is None:  # raised by a library with its own text: that text is the best we have
            raise
        sys.stderr.write(f"error: {_storage_sentence(error)}\n")
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped by Ctrl-C; what was saved so far is intact\n")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
