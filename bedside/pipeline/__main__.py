"""The whole chain in one command: PT, SFT, RM, then DPO, ORPO, PPO and GRPO, merged, evaluated, told in a report.

    sh run_pipeline.sh
    sh run_pipeline.sh --only dpo ppo
    sh run_pipeline.sh --dry_run
    python -m bedside.pipeline --model_name_or_path Qwen/Qwen3-4B-Base --data_dir my/data

What is done already, by the same command from the same data, is kept; so the same command goes on after a kill.
Exit status: 0 everything is done, 1 a step failed, 2 a mistake in the command, 130 stopped by Ctrl-C.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside import cli, errors, logs, wholefile
from bedside.deploy.server import Stopped
from bedside.errors import CHECK_FAILED, ConfigError
from bedside.pipeline import flags, lock, show, state, steps, work
from bedside.pipeline.screen import Screen


def main(argv: list[str] | None = None) -> int:
    """Settle, plan, tell what will be left out, run, show what came out."""
    parsed = cli.parse((flags.PipelineArguments,), argv, description=__doc__)
    logs.setup()
    args = parsed[flags.PipelineArguments]
    wishes = flags.settle(parsed, os.environ)
    chain = steps.plan(wishes)
    lost = sorted({word for step in chain for word in step.argv if word.endswith(".py") and not Path(word).is_file()})
    if lost:
        raise ConfigError(f"{', '.join(lost)}: not in this directory; run from the root of the repository")
    screen = Screen([step.name for step in chain], sys.stdout, args.verbose)
    for line in show.head(wishes, chain):
        screen.say(line)
    if args.dry_run:
        screen.say(show.commands(wishes, chain))
        return 0
    output = Path(wishes.output)
    output.mkdir(parents=True, exist_ok=True)
    try:
        with stoppable(), lock.held(output, logs.info) as held:
            known = begin(wishes, chain, args.overwrite_output_dir)
            lanes = work.Lanes(
                chain, known, screen, held, output / "logs", wishes.jobs, environment(wishes.threads)
            )  # fmt: skip
            outcome = work.run(lanes)
    except Stopped as stop:
        screen.say(f"\nstopped; the same command goes on where this one was ({output / state.NAME})")
        return 128 + stop.number
    screen.say(show.ending(wishes, chain, outcome, known))
    return CHECK_FAILED if {work.BROKEN, work.BLOCKED} & set(outcome.values()) else 0


def begin(wishes: flags.Wishes, chain: list[steps.Step], replace: bool) -> state.State:
    """What is known of the output directory; ConfigError if the chain would replace somebody else's work there."""
    known = state.State(wishes.output)
    if known.model not in (None, wishes.model) and known.steps and not replace:
        raise ConfigError(
            f"{wishes.output}: holds the chain of {known.model}, and this one begins with {wishes.model}; give another"
            f" --output_dir, MODEL={known.model} to go on with that one, or --overwrite_output_dir True to replace it"
        )
    problems = state.foreign(chain, known.steps)
    if problems:
        raise ConfigError(problems)
    known.model = wishes.model
    known.write()
    asked = Path(steps.question_file(wishes))
    if not asked.is_file() or asked.read_text(encoding="utf-8") != steps.question_text(wishes):
        wholefile.write(asked, steps.question_text(wishes))
    return known


def environment(threads: int | None) -> dict[str, str]:
    """The environment of every step: its share of the cores, so that a step computes the same beside any other."""
    own = {"PYTHONUNBUFFERED": "1"}
    if threads:
        own |= {"OMP_NUM_THREADS": str(threads)}
    return {**os.environ, **own}


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal raise Stopped; under nohup the terminal may be closed."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def stop(number: int, frame: object) -> None:
        for other in numbers:  # the ending is bounded, and must not be cut short
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    errors.run_command(main)
