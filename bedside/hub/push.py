"""A finished model to a hub: asked before the training whether it may, sent after the model is sealed on this disk.

The repository is private unless the user says otherwise. The token comes from the environment (HF_TOKEN,
MODELSCOPE_API_TOKEN) or from the client's own login, never from a flag. One commit, or for ModelScope `lineage.json`
last, so that half of an upload is never taken for a whole one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.errors import CHECK_FAILED, ConfigError, UserError
from bedside.hub import huggingface, modelscope, parcel

# The trainer's flags that are ours here: transformers would send the whole directory, checkpoints and answers too.
FLAGS = ("push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_always_push")


class PushFailed(UserError):
    """The model is safe on this disk; its copy did not reach the hub."""

    status = CHECK_FAILED


@dataclass(frozen=True)
class Wish:
    """Where a model is to go: `OWNER/NAME` (or a name alone, for the owner of the token), and who may see it."""

    repo: str
    private: bool = True
    revision: str | None = None
    source: str = "huggingface"

    def seen_by(self) -> str:
        """For people."""
        return "private" if self.private else "public"

    def command(self, directory: Path | str) -> str:
        """What sends `directory` there by hand."""
        words = ["python", "-m", "bedside.hub", str(directory), "--hub_model_id", self.repo]
        words += [] if self.private else ["--hub_private_repo", "False"]
        words += ["--hub_revision", self.revision] if self.revision else []
        return shlex.join(words + (["--source", self.source] if self.source != "huggingface" else []))


_NAME = re.compile(r"(?=[^/]+(/[^/]{1,96})?$)\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


def name_problem(name: str) -> str | None:
    """What is wrong with a repository's name, before any hub is asked."""
    if _NAME.fullmatch(name) and ".." not in name and "--" not in name and not name.endswith((".", "-", ".git")):
        return None
    address = re.fullmatch(r"(?:https?://)?(?:www\.)?[\w-]+(?:\.\w+)+/(?:models/)?([\w.-]+/[\w.-]+)/?", name)
    hint = f"; is it {address[1]}?" if address else ""
    return f"--hub_model_id {name}: not a name on a hub; expected OWNER/NAME, of letters, digits and . _ -{hint}"


def problems(trainer: dict[str, Any]) -> list[str]:
    """What of these flags cannot be done; each with what can."""
    named = trainer.get("hub_model_id")
    found = [wrong] if named and (wrong := name_problem(str(named))) else []
    if trainer.get("hub_strategy") not in (None, "end"):
        found.append(
            f"--hub_strategy {trainer['hub_strategy']}: the finished model is sent, never checkpoints with their "
            "optimizer states; drop the flag, and send a checkpoint by hand: python -m bedside.hub CHECKPOINT "
            "--hub_model_id OWNER/NAME"
        )
    if trainer.get("hub_always_push"):
        found.append("--hub_always_push True: one upload is made, after the training; drop the flag")
    idle = [name for name in FLAGS[1:4] if trainer.get(name) is not None and not trainer.get("push_to_hub")]
    found += [f"--{name} without --push_to_hub True: nothing would be sent; add it, or drop the flag" for name in idle]
    return found


def wish_of(trainer: dict[str, Any]) -> Wish | None:
    """The wish that the trainer's flags hold; they are taken out of `trainer`, in place."""
    asked = {name: trainer.pop(name, None) for name in FLAGS}
    if not asked["push_to_hub"]:
        return None
    name = asked["hub_model_id"] or Path(trainer["output_dir"]).resolve().name
    return Wish(name, asked["hub_private_repo"] is not False, asked["hub_revision"])


def ready(wish: Wish | None) -> Wish | None:
    """Make the repository, before hours are spent; returns the wish with its full name. Rank 0 only; ConfigError."""
    if wish is None or logs.rank() != 0:
        return wish
    if wrong := name_problem(wish.repo):  # the output directory's name, where none was given
        raise ConfigError(wrong)
    full = _SOURCES[wish.source][0](wish)
    logs.info(f"the finished model will be sent to {full.repo} ({full.seen_by()}, {full.source})")
    return full


def finished(wish: Wish | None, directory: Path | str) -> None:
    """Send what a stage or a merge has sealed in `directory`. Rank 0 only; PushFailed says how to do it later."""
    if wish is None or logs.rank() != 0:
        return
    try:
        items = parcel.pack(directory)
        base = parcel.only_here(directory)
        if base:
            logs.warn(
                f"the adapter's base, {base}, is not known to be on a hub: those who fetch the adapter need it too; "
                "send the merged model instead (python merge_peft_adapter.py --hf_hub_model_id OWNER/NAME ...)"
            )
        _SOURCES[wish.source][1](wish, items)
    except Exception as error:  # noqa: BLE001 - whatever the client raises, the model must not seem lost
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise PushFailed(
            f"the model is finished and sealed in {directory}; sending it to {wish.repo} failed: "
            f"{' '.join(why.split())[:300]}. Send it later: {wish.command(directory)}"
        ) from None
    logs.info(f"sent {len(items)} files to {wish.repo} ({wish.seen_by()})")


@contextmanager
def _write_sentences(wish: Wish) -> Iterator[None]:
    """What the Hugging Face client says against writing, as ConfigError."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.LocalTokenNotFoundError:
        raise ConfigError(_NO_TOKEN) from None
    except hub.HFValidationError:
        raise ConfigError(f"--hub_model_id {wish.repo}: not a name on the hub; expected OWNER/NAME") from None
    except hub.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        if status in (401, 403):
            raise ConfigError(
                f"{wish.repo}: {huggingface.endpoint()} does not let this token write there (status {status}); put a "
                "token with write access to that owner into HF_TOKEN"
            ) from None
        raise ConfigError(f"{wish.repo}: {huggingface.endpoint()} answered with status {status}") from None
    except (hub.HTTPError, ConnectionError, OSError) as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise ConfigError(
            f"{wish.repo}: {huggingface.endpoint()} cannot be reached ({why}); mend the network, or drop "
            "--push_to_hub and send the model later: python -m bedside.hub OUTPUT_DIR --hub_model_id OWNER/NAME"
        ) from None


_NO_TOKEN = (
    "--push_to_hub: no token; put one with write access into HF_TOKEN (from the hub's settings, Access Tokens), never "
    "on the command line"
)


def _claim_at_huggingface(wish: Wish) -> Wish:
    huggingface.check_not_offline()
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise ConfigError(_NO_TOKEN)
    api = HfApi(endpoint=huggingface.endpoint())
    with _write_sentences(wish):
        full = api.create_repo(wish.repo, private=wish.private, exist_ok=True).repo_id
        seen = api.repo_info(full)
        if wish.private and seen.private is False:
            raise ConfigError(
                f"--hub_model_id {full}: is there already and public; choose another name, or say that everybody may "
                "see this model: --hub_private_repo False"
            )
        if wish.revision:
            api.create_branch(full, branch=wish.revision, exist_ok=True)
    return replace(wish, repo=full)


def _send_to_huggingface(wish: Wish, items: list[parcel.Item]) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    wish = _claim_at_huggingface(wish)  # it may have been opened or removed during the training
    added = [
        CommitOperationAdd(item.name, item.content if isinstance(item.content, bytes) else str(item.content))
        for item in items
    ]
    with _write_sentences(wish):
        HfApi(endpoint=huggingface.endpoint()).create_commit(
            wish.repo, added, commit_message="Model trained with bedside", revision=wish.revision
        )


_PRIVATE_THERE = 1  # ModelScope's number for it


def _claim_at_modelscope(wish: Wish) -> Wish:
    modelscope.check_installed()
    from modelscope_hub import HubApi

    with modelscope.writing(wish.repo):
        api = HubApi()
        full = wish.repo if "/" in wish.repo else f"{api.whoami().username}/{wish.repo}"
        if api.repo_exists(full, "model"):
            seen = api.get_repo(full, "model")
            if wish.private and not (seen.private or seen.visibility == _PRIVATE_THERE):
                raise ConfigError(
                    f"--hub_model_id {full}: is there already and not private; choose another name, or say that "
                    "everybody may see this model: --hub_private_repo False"
                )
        else:
            api.create_repo(full, "model", visibility=wish.seen_by())
    return replace(wish, repo=full)


def _send_to_modelscope(wish: Wish, items: list[parcel.Item]) -> None:
    wish = _claim_at_modelscope(wish)
    from modelscope_hub import HubApi

    with modelscope.writing(wish.repo):
        api = HubApi()
        for item in items:
            api.upload_file(
                wish.repo, "model", item.content, item.name, commit_message=f"{item.name}: trained with bedside",
                revision=wish.revision, disable_tqdm=True,
            )  # fmt: skip


_SOURCES = {
    "huggingface": (_claim_at_huggingface, _send_to_huggingface),
    "modelscope": (_claim_at_modelscope, _send_to_modelscope),
}
