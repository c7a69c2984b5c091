"""The same upload to ModelScope, whose client is recorded.

sh run_tests.sh tests/hub/test_modelscope.py
"""

import importlib.machinery
import sys
import types
from types import SimpleNamespace

import pytest

from bedside.errors import ConfigError
from bedside.hub import push
from tests.hub.finished import SENT


class ModelScope:
    """The client of modelscope-hub 0.5.1 as far as it is used, with its signatures."""

    def __init__(self):
        self.calls, self.there = [], None

    def whoami(self):
        return SimpleNamespace(username="me")

    def repo_exists(self, repo_id, repo_type):
        return self.there is not None

    def get_repo(self, repo_id, repo_type, *, revision=None):
        return SimpleNamespace(visibility=self.there, private=None)

    def create_repo(self, repo_id, repo_type, *, visibility=None, license=None, **extra):
        self.calls.append(("create_repo", repo_id, visibility))

    def upload_file(
        self, repo_id, repo_type, path_or_fileobj, path_in_repo, *, commit_message=None, commit_description=None,
        revision=None, buffer_size_mb=16, disable_tqdm=False,
    ):  # fmt: skip
        self.calls.append(("upload_file", repo_id, path_in_repo))


@pytest.fixture
def modelscope(monkeypatch):
    """The client in the place of the installed one."""
    api, module, errors = ModelScope(), types.ModuleType("modelscope_hub"), types.ModuleType("modelscope_hub.errors")
    module.__spec__ = importlib.machinery.ModuleSpec("modelscope_hub", None)
    errors.HubError = type("HubError", (Exception,), {})
    errors.AuthenticationError = type("AuthenticationError", (errors.HubError,), {})
    errors.PermissionDeniedError = type("PermissionDeniedError", (errors.HubError,), {})
    module.HubApi, module.errors = lambda: api, errors
    monkeypatch.setitem(sys.modules, "modelscope_hub", module)
    monkeypatch.setitem(sys.modules, "modelscope_hub.errors", errors)
    return api


def test_modelscope_gets_the_same_files_the_seal_last(model, modelscope):
    push.finished(push.ready(push.Wish("m", source="modelscope")), model)
    assert modelscope.calls[0] == ("create_repo", "me/m", "private")
    assert [call[2] for call in modelscope.calls if call[0] == "upload_file"] == SENT


def test_modelscope_refusals_are_sentences(model, modelscope):
    modelscope.there = 5  # public
    with pytest.raises(ConfigError, match="me/m: is there already and not private"):
        push.ready(push.Wish("me/m", source="modelscope"))
    modelscope.there = 1

    def refused(*_, **__):
        raise sys.modules["modelscope_hub"].errors.AuthenticationError("no")

    modelscope.upload_file = refused
    with pytest.raises(
        push.PushFailed, match="put a token of that owner into MODELSCOPE_API_TOKEN.* --source modelscope"
    ):
        push.finished(push.ready(push.Wish("me/m", source="modelscope")), model)
