"""A hub client that records what it is asked, and what was sent through it."""

import inspect
from types import SimpleNamespace

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

SECRET = "hf_thisIsATokenOfSomebody"


class Recorder:
    """HfApi as far as it is used: every call is checked against the installed client's signature, and kept."""

    def __init__(self, monkeypatch):
        self.calls: list[tuple[str, dict]] = []
        self.private, self.fails = True, {}
        real = huggingface_hub.HfApi
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda **known: inspect.signature(real).bind(**known) and self)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: SECRET)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        self.answers = {
            "create_repo": lambda call: SimpleNamespace(repo_id=self.full(call["repo_id"])),
            "repo_info": lambda call: SimpleNamespace(private=self.private),
            "create_branch": lambda call: None,
            "create_commit": lambda call: None,
        }  # fmt: skip
        self.signatures = {name: inspect.signature(getattr(real, name)) for name in self.answers}

    @staticmethod
    def full(name: str) -> str:
        """A name alone is the token's owner's."""
        return name if "/" in name else f"me/{name}"

    def __getattr__(self, name):
        if name not in self.signatures:
            raise AttributeError(name)

        def called(*args, **known):
            call = self.signatures[name].bind(self, *args, **known).arguments
            call.pop("self")
            self.calls.append((name, call))
            if name in self.fails:
                raise self.fails[name]
            return self.answers[name](call)

        return called

    def call(self, name: str) -> dict:
        return next(call for called, call in self.calls if called == name)


def refused(status: int) -> HfHubHTTPError:
    """The client's error for an answer of the hub."""
    import httpx

    asked = httpx.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError("no", response=httpx.Response(status, request=asked))


def copied(hub: Recorder, place) -> dict:
    """The files of the commit, written to `place`; returns their bytes by name."""
    files = {}
    for added in hub.call("create_commit")["operations"]:
        content = added.path_or_fileobj
        files[added.path_in_repo] = content if isinstance(content, bytes) else open(content, "rb").read()  # noqa: SIM115
        place.mkdir(exist_ok=True)
        (place / added.path_in_repo).write_bytes(files[added.path_in_repo])
    return files
