"""Sealed checkpoints and exact resume, as a mixin to the left of a trainer: `class T(Sealed, SFTTrainer)`.

A checkpoint counts once `lineage.json`, written last, lists every file with size and SHA-256; only then are older
ones rotated away. A run killed at any moment resumes from the newest one that verifies.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bedside import launch, lineage, logs
from bedside.errors import ConfigError

# Inputs that only bend the curve; every other one (see `manifest.inputs_section`) must be what it was.
_ADVISED = ("batch", "accumulation", "learning_rate")


def numbered(output_dir: str | Path) -> list[Path]:
    """`checkpoint-N` directories, oldest first."""
    found = [p for p in Path(output_dir).glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def last_good(output_dir: str | Path) -> Path | None:
    """The newest checkpoint that verifies; damaged newer ones are renamed to broken-checkpoint-N, and named.

    For one process only: another one that looks at the same time may see a checkpoint that is being renamed.
    """
    for path in reversed(numbered(output_dir)):
        why = lineage.damage(path)
        if why is None:
            return path
        logs.warn(f"{path}: {why}; set aside as broken-{path.name}, looking for an older one")
        aside = path.with_name(f"broken-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    return None


def to_resume(wish: str | bool | None, output_dir: str, inputs: dict, force: bool = False) -> Path | None:
    """The checkpoint that --resume_from_checkpoint means (a path, or True for the newest), checked.

    Rank 0 decides for every process. Raises ConfigError if there is none, it is damaged, or it was trained on other
    inputs.
    """
    return launch.once(lambda: _chosen(wish, output_dir, inputs, force))


def _chosen(wish: str | bool | None, output_dir: str, inputs: dict, force: bool) -> Path | None:
    if wish in (None, False) or str(wish).lower() in ("false", "none", ""):
        return None
    if str(wish).lower() in ("true", "auto", "latest"):
        path = last_good(output_dir)
        if path is None:
            if str(wish).lower() == "auto":
                return None
            raise ConfigError(f"--resume_from_checkpoint: no usable checkpoint in {output_dir}; drop it to start anew")
    else:
        path = Path(wish)
        why = "no such directory" if not path.is_dir() else lineage.damage(path)
        if why:
            raise ConfigError(f"--resume_from_checkpoint {wish}: {why}; give True to take the newest good one")
    _compare(path, (lineage.read(path) or {}).get("inputs", {}), inputs, force)
    return path


def _compare(path: Path, then: dict, now: dict, force: bool) -> None:
    changed = [name for name in then if name not in _ADVISED and then[name] != now.get(name)]
    if changed and not force:
        raise ConfigError(
            [f"{path}: {name} was {then[name]} in that run and is {now.get(name)} now; a resumed run repeats the "
             f"uninterrupted one only if it is the same. Restore it, start anew, or add --force_resume True"
             for name in changed]
        )  # fmt: skip
    for name in _ADVISED:
        if name in then and then[name] != now.get(name):
            change = f"{name} was {then[name]} and is {now.get(name)} now"
            logs.warn(f"{path}: {change}; the schedule of the old run goes on")


def _load_trained(model: Any, checkpoint: Path) -> None:
    """The adapter that is trained, where that of a reference lies in a directory beside it: transformers before 5.23
    loads only the latter then, and goes on from where the run had begun without a word."""
    if not (checkpoint / "ref" / "adapter_model.safetensors").is_file() or not hasattr(model, "active_adapters"):
        return
    from peft import load_peft_weights, set_peft_model_state_dict

    # Without `load_adapter`, which would also decide anew what is trained.
    kept = load_peft_weights(str(checkpoint), device="cpu")
    set_peft_model_state_dict(model, kept, adapter_name=model.active_adapters[0])


class Sealed:
    """Mixin: seals what `_save_checkpoint` writes, rotates afterwards, restores dtypes on resume."""

    seal: Callable[[Path], Any]  # writes lineage.json into a checkpoint directory

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from transformers.trainer_utils import rotate_checkpoints

        directory = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and directory.is_dir():
            shutil.rmtree(directory)  # a stale one would mix with the new files and look complete
        self.accelerator.wait_for_everyone()  # before another rank writes its shard there
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # A pickle of the arguments, access token included; resume does not read it.
            (directory / "training_args.bin").unlink(missing_ok=True)
            self.seal(directory)
            rotate_checkpoints(
                output_dir=self._get_output_dir(trial=trial),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Weights gathered from shards name a tied head twice; it is saved once, as without shards."""
        if state_dict and getattr(self.model.config, "tie_word_embeddings", False):
            tied = set(getattr(self.model, "_tied_weights_keys", None) or ())
            state_dict = {name: tensor for name, tensor in state_dict.items() if name not in tied}
        super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """PEFT loads adapters in a precision of its own choice; a bitwise resume needs the one of training."""
        target = model or self.model
        wanted = {name: parameter.dtype for name, parameter in target.named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        _load_trained(target, Path(resume_from_checkpoint))
        for name, parameter in target.named_parameters():
            if parameter.dtype != wanted[name]:
                parameter.data = parameter.data.to(wanted[name])
