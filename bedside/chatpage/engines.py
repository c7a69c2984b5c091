"""From the flags of a page to the engines that answer: one, or two that are compared."""

import os

from bedside import logs
from bedside.answers import Engine
from bedside.chatpage.flags import PageArguments
from bedside.cli import Parsed


def engines(parsed: Parsed) -> tuple[Engine, Engine | None]:
    """The first engine and, where --compare_* names one, the second; loaded here or asked on a server.

    Raises ConfigError, LineageError or EngineFailed for models that cannot be loaded or reached.
    """
    args = parsed[PageArguments]
    if args.only_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    named = args.base_model if "base_model" in parsed.given or not args.lora_model else None
    first = _engine(parsed, args.server, args.served_model, named, args.lora_model, "--server")
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
    from bedside import engine, memory, models
    from bedside.generate import ChatEngine

    args = parsed[PageArguments]
    origin = engine.find(base, adapter)
    if "model_revision" in parsed.given:
        origin.resolved.revision = args.model_revision
    template_name = args.template_name
    if isinstance(like, ChatEngine) and not models.load_tokenizer(origin.tokenizer_path).chat_template:
        template_name = like.template.name
    tokenizer, template = engine.text_side(origin, template_name, args.tokenizer_path, args.cache_dir)
    if args.enable_thinking is not None and template.thinking == "none":
        logs.warn(f"--enable_thinking: the template {template.name} has no thinking mode; the flag changes nothing")
    wish, placed = memory.chosen(args, origin)
    quantisation, dtype = engine.precision(origin, wish, args.dtype)
    loaded = engine.load(
        origin, tokenizer, template, quantisation, dtype, args.attn_implementation, placed, args.cache_dir
    )
    engine.describe(loaded, origin)
    return loaded
