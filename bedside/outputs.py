"""The output directory of a run: never a mixture of two runs, and no file of anybody else touched."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bedside import checkpoints, lineage, logs
from bedside.errors import ConfigError

# What a run leaves in its output directory, and so what --overwrite_output_dir may remove. Nothing else is touched.
_OURS = (
    "checkpoint-*", "broken-checkpoint-*", "lineage.json*", "adapter_*", "model*.safetensors*", "config.json",
    "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "README.md", "ledger.json", "rejected.jsonl", "metrics.json", "trainer_state.json",
    "training_args.bin", "runs", "plots", "eval_before.json", "eval_after.json", "data_report.html",
    "data_lengths.png", "rejected_of_stopped_run.jsonl", "ref", "heldout_pairs.json", "samples.jsonl",
    "exam_before.json", "exam_after.json", "profile",
)  # fmt: skip


def prepare_output(output_dir: str, overwrite: bool, resuming: bool, dry: bool = False) -> Path:
    """Make the output directory, refusing to mix two runs; ConfigError if it holds one or cannot be written.

    Nothing is removed yet: an earlier run goes (`clear_output`) once the new one's data is known to be good. A `dry`
    run makes nothing.
    """
    directory = Path(output_dir)
    if _is_used(directory) and not overwrite and not resuming:
        problem = (
            f"--output_dir {output_dir}: holds an earlier run; add --overwrite_output_dir True to replace it, "
            "--resume_from_checkpoint True to go on with it, or choose another directory"
        )
        if not dry:
            raise ConfigError(problem)
        logs.warn(f"the run itself would not begin: {problem}")
    if logs.rank() == 0 and not dry:
        _check_writable(directory)
    return directory


def _is_used(directory: Path) -> bool:
    return directory.is_dir() and (bool(checkpoints.numbered(directory)) or (directory / lineage.NAME).exists())


def clear_output(directory: Path, overwrite: bool, resuming: bool) -> None:
    """Remove what an earlier run left there, if it is to be overwritten. Rank 0 only; other people's files stay."""
    if logs.rank() == 0 and overwrite and not resuming and _is_used(directory):
        for pattern in _OURS:
            for path in directory.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as stream:
            stream.write(b"x")
    except OSError as error:
        raise ConfigError(
            f"--output_dir {directory}: cannot be written ({error.strerror}); choose another directory or free space"
        ) from None
