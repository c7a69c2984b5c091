"""Send a finished model directory to a hub: the model, its tokenizer with the template, its lineage, ledger and card.

    python -m bedside.hub merged-sft --hub_model_id OWNER/NAME
    python -m bedside.hub merged-sft --hub_model_id OWNER/NAME --source modelscope
    python -m bedside.hub merged-sft --hub_model_id OWNER/NAME --dry_run

The repository is private unless --hub_private_repo False. The token comes from HF_TOKEN (MODELSCOPE_API_TOKEN), never
from the command line. Optimizer states, rejected rows and answers stay here. --dry_run lists what would go.
Exit status: 0 sent, 1 the sending failed, 2 a mistake in the command.
"""

import sys
from dataclasses import dataclass

from bedside import cli, errors, logs
from bedside.args import flag
from bedside.errors import ConfigError
from bedside.hub import parcel, push


@dataclass
class PushArguments:
    """What is sent, and where to."""

    directory: list | None = flag(None, "a model directory; as the word in front of the first flag")
    hub_model_id: str | None = flag(None, "OWNER/NAME; a name alone belongs to the owner of the token")
    hub_private_repo: bool = flag(True, "nobody else sees it; False makes it public")
    hub_revision: str | None = flag(None, "the branch that is written; made if it is not there (default: main)")
    source: str = flag("huggingface", "which hub", (), ("huggingface", "modelscope"))
    dry_run: bool = flag(False, "list the files and their sizes, send nothing")


def main(argv: list[str] | None = None) -> int:
    """Verify, list or send."""
    from bedside import lineage

    args = cli.parse((PushArguments,), argv, None, __doc__, positional="directory")[PushArguments]
    logs.setup()
    if len(args.directory or []) != 1 or not args.hub_model_id:
        raise ConfigError("expected one directory and a name: python -m bedside.hub DIR --hub_model_id OWNER/NAME")
    if wrong := push.name_problem(args.hub_model_id):
        raise ConfigError(wrong)
    directory = str(args.directory[0])
    items = parcel.pack(directory)
    why = lineage.damage(directory)
    if why:
        raise ConfigError(f"{directory}: {why}; what is damaged is not sent")
    wish = push.Wish(args.hub_model_id, args.hub_private_repo, args.hub_revision, args.source)
    if args.dry_run:
        sys.stdout.write("".join(f"{line}\n" for line in parcel.shown(items)))
        logs.info(f"{len(items)} files would go to {wish.repo} ({wish.seen_by()}, {wish.source}); nothing was sent")
        return 0
    push.finished(push.ready(wish), directory)
    return 0


if __name__ == "__main__":
    errors.run_command(main)
