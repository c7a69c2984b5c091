"""Serve a model directory with vLLM, as it was trained: what vllm_deployment.sh runs.

    python -m bedside.deploy merged-sft
    python -m bedside.deploy outputs-sft --port 8001 --dry_run

Exit status: 0 ended by SIGTERM (or a check that passed), 130 by Ctrl-C, 1 vLLM failed or the check did, 2 a mistake in
the command.
"""

import os
import re
import signal
import sys
from pathlib import Path

from bedside import errors, logs
from bedside.errors import CHECK_FAILED, ConfigError


def main(argv: list[str] | None = None) -> int:
    """Read, decide, start, wait, tell how to ask, and stay until someone ends it."""
    from bedside.deploy import command, given, machine, server, subject

    asked = given.parse(sys.argv[1:] if argv is None else argv)
    logs.setup()
    found = subject.read(_directory(asked), own_template=asked.words("chat-template") is not None)
    vllm = machine.find_vllm()
    start = command.compose(found, machine.look(vllm), vllm, asked, os.environ)
    for sentence in start.told:
        logs.info(sentence)
    _say(start.line())
    if asked.own.dry_run:
        return 0
    server.check_port(start.address)
    name = re.sub(r"[^\w.-]+", "_", start.model)
    log = Path(asked.own.log_file or f"vllm_{name}.log").absolute()
    logs.info(f"starting vLLM {vllm.version} from {vllm.python}; its log: {log}")
    try:
        with server.stoppable(), server.running(start, log, logs.info) as process:
            if asked.own.check:
                return _checked(start)
            _tell(start)
            server.watch(process, log)
    except server.Stopped as stop:
        logs.info("vLLM is stopped")
        return 130 if stop.number == signal.SIGINT else 0
    return 0


def _directory(asked) -> str:
    """The directory that was named, or the one that the README's commands make."""
    from bedside.deploy.given import DEFAULT

    if asked.directory:
        return asked.directory
    if not Path(DEFAULT).is_dir():
        raise ConfigError(
            f"expected a model directory: sh vllm_deployment.sh MODEL_DIR (without one {DEFAULT} is served, which is "
            "not here)"
        )
    logs.info(f"no directory is named: serving {DEFAULT}")
    return DEFAULT


def _tell(start) -> None:
    """How to ask, as one would type it."""
    from bedside.deploy import asking

    key = bool(os.environ.get("VLLM_API_KEY"))
    _say(f"\nserving {start.model} at {start.url}/v1 (Ctrl-C ends it)\n\n{asking.curl(start, key)}\n")
    _say(asking.openai(start, key) + "\n")


def _checked(start) -> int:
    """Ask a question in each language and show the replies; CHECK_FAILED if one is not whole."""
    from bedside.deploy import asking

    replies = [(question, asking.ask(start, question)) for question in asking.questions()]
    for question, reply in replies:
        _say(f"\n{asking.shown(question, reply)}")
    good = sum(reply.whole(start.thinks) for _, reply in replies)
    _say(f"\ncheck: {good} of {len(replies)} answers are whole and ended by themselves")
    return 0 if good == len(replies) else CHECK_FAILED


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    errors.run_command(main)
