"""Fetch a model or a dataset from Hugging Face or ModelScope, at one commit, whole and written down.

    python download_model.py Qwen/Qwen3-0.6B
    python download_model.py --model Qwen/Qwen3-0.6B --revision main --output_dir models/qwen3-small
    python download_model.py --dataset FreedomIntelligence/medical-o1-reasoning-SFT --include "*zh*.json"

Goes to models/NAME or data/NAME; a download that was interrupted goes on with the same command. Weights are fetched as
safetensors only. download.json names the commit, and size and SHA-256 of every file. HF_TOKEN opens gated models,
HF_ENDPOINT names a mirror.
"""

import sys
from pathlib import Path

from bedside import cli, errors, logs
from bedside.data_args import DownloadArguments
from bedside.errors import ConfigError
from bedside.hub import huggingface, modelscope, record, remote

SOURCES = {"huggingface": huggingface, "modelscope": modelscope}


def wanted(args: DownloadArguments) -> tuple[str, str, Path]:
    """`(name, kind, directory)`; ConfigError unless exactly one thing is named."""
    names = [(name, "model") for name in (*(args.name or ()), args.model) if name]
    names += [(args.dataset, "dataset")] if args.dataset else []
    if len(names) != 1:
        found = ", ".join(name for name, _ in names) or "none"
        raise ConfigError(f"expected one name, found {found}: download_model.py OWNER/NAME, or --dataset OWNER/NAME")
    name, kind = names[0]
    name = name.strip("/")
    if Path(name).is_dir():
        raise ConfigError(f"{name}: is a directory here already; expected a name on the hub: OWNER/NAME")
    if not 1 <= args.workers <= 64:
        raise ConfigError(f"--workers {args.workers}: expected 1 to 64")
    home = "models" if kind == "model" else "data"
    return name, kind, Path(args.output_dir or f"{home}/{name.rsplit('/', 1)[-1]}")


def main(argv: list[str] | None = None) -> int:
    # 1. What is there, and what of it is wanted.
    args = cli.parse((DownloadArguments,), argv, None, __doc__, positional="name")[DownloadArguments]
    logs.setup()
    name, kind, directory = wanted(args)
    hub = SOURCES[args.source]
    found = hub.listing(name, kind, args.revision)
    files, left = remote.choose(found, args.include, args.exclude, args.pickle)
    at = f"commit {found.commit}" if found.commit else f"revision {found.revision}"
    logs.info(f"{name} ({kind}), {at}: {len(files)} files, {remote.gigabytes(remote.size_of(files))}")
    if left:
        logs.warn(
            f"{len(left)} pickle files left out, such as {left[0].path}: loading one can run code (--pickle True)"
        )
    elif args.pickle and any(remote.is_pickled(file) for file in files):
        logs.warn("pickle files are among them: loading one runs whatever code its authors put in")
    if args.dry_run:
        sys.stdout.write("".join(f"{file.size:>14,}  {file.path}\n" for file in files))
        return 0

    # 2. Fetched, if it is not here and there is room.
    record.check_place(directory, found)
    earlier = record.read(directory)
    record.check_room(directory, files, earlier)
    if earlier and earlier["commit"] != found.commit:
        logs.info(f"{directory} held commit {earlier['commit']}; files that differ are replaced")
    absent = record.missing(directory, files, earlier)
    if absent:
        record.write(directory, found, (earlier or {}).get("files", {}), complete=False)
        hub.fetch(found, absent, directory, args.workers)

    # 3. Verified, and written down.
    hashes = record.verify(directory, files)
    record.write(directory, found, hashes, complete=True)
    flag = "--model_name_or_path" if kind == "model" else "--train_file_dir"
    logs.info(f"{directory}: {len(files)} files verified, written down in {record.NAME}; use it: {flag} {directory}")
    return 0


if __name__ == "__main__":
    errors.run_command(main)
