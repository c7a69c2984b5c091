"""From the flags of a page to the engines that answer: one, or two that are compared."""

import os

from bedside import logs
from bedside.answers import Engine
from bedside.chatpage.flags import PageArguments
from bedside.cli import Parsed
from bedside.inference_flags import said_base


def engines(parsed: Parsed) -> tuple[Engine, Engine | None]:
    """The first engine and, where --compare_* names one, the second; loaded here or asked on a server.

    Raises ConfigError, LineageError or EngineFailed for models that cannot be loaded or reached.
    """
    args = parsed[PageArguments]
    if args.only_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    base = said_base(args, parsed.given)
    first = _engine(parsed, args.server, args.served_model, base, args.lora_model, "--server")
    if not (args.compare_server or args.compare_base_model or args.compare_lora_model):
        return first, None
    second = _engine(
        parsed, args.compare_server, args.compare_served_model, args.compare_base_model, args.compare_lora_model,
        "--compare_server", first,
    )  # fmt: skip
    return first, second


def names(first: Engine, second: Engine | None) -> list[str]:
    """What the models are called on the page: their names, told apart where they are the same."""
    if second is None:
        return [first.name]
    return [first.name, second.name] if first.name != second.name else [f"A · {first.name}", f"B · {second.name}"]


def _engine(
    parsed: Parsed,
    server: str | None,
    served: str | None,
    base: str | None,
    adapter: str | None,
    flag: str,
    like: Engine | None = None,
) -> Engine:
    if server:
        from bedside.remote import RemoteEngine

        remote = RemoteEngine(server, served)
        logs.info(f"{flag} {server}: {remote.name}")
        return remote
    return _loaded(parsed, base, adapter, like)


def _loaded(parsed: Parsed, base: str | None, adapter: str | None, like: Engine | None) -> Engine:
    """The model in this process. A base that has no template of its own is asked with that of the model `like` which
    it is compared with."""
    from bedside import engine
    from bedside.generate import ChatEngine

    otherwise = like.template.name if isinstance(like, ChatEngine) else None
    settled = engine.settle(engine.find(base, adapter), parsed[PageArguments], parsed.given, otherwise=otherwise)
    return settled.load()
