"""The flags of fastapi_server_demo.py: those of inference that make the model, and the server's own."""

import os
from dataclasses import dataclass

from bedside import inference_flags as shared
from bedside.args import flag
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.inference_flags import same
from bedside.openers import is_loopback
from bedside.settle import quantisation, template_problems

KEY = "BEDSIDE_API_KEY"


@dataclass
class ServingArguments:
    """Serve a model of this process to OpenAI clients."""

    base_model: str = same("base_model")
    lora_model: str | None = same("lora_model")
    tokenizer_path: str | None = same("tokenizer_path")
    cache_dir: str | None = same("cache_dir")
    model_revision: str = same("model_revision")
    template_name: str | None = same("template_name")
    system_prompt: str | None = same("system_prompt")
    dtype: str = same("dtype")
    device_map: str | None = same("device_map")
    attn_implementation: str | None = same("attn_implementation")
    load_in_4bit: bool = same("load_in_4bit")
    load_in_8bit: bool = same("load_in_8bit")
    quantization_bit: int | None = same("quantization_bit")
    memory_gb: float | None = same("memory_gb")
    resize_emb: bool = same("resize_emb")
    only_cpu: bool = same("only_cpu")
    gpus: str | None = same("gpus")
    enable_thinking: bool | None = flag(
        None, "False asks a hybrid model to answer without a thought, where a request says nothing about it"
    )
    max_new_tokens: int = flag(512, "longest answer of a request that names none, thought included, in tokens")
    temperature: float = flag(0.7, "of requests that name none; 0 takes the likeliest token every time")
    top_p: float = flag(0.9, "of requests that name none: the smallest set of tokens with this probability")
    top_k: int = flag(0, "of requests that name none: the K likeliest tokens; 0 is all")
    repetition_penalty: float = flag(1.0, "of requests that name none: above 1 makes repeated tokens less likely")
    host: str = flag("127.0.0.1", f"address to listen on; any but this machine's own needs the key {KEY}")
    port: int = flag(8000, "port to listen on", ("server_port",))
    served_model_name: str | None = flag(None, "what clients call the model (default: its directory's name)")
    max_batch: int = flag(8, "chats answered at once")
    max_waiting: int = flag(64, "chats that may wait for their turn; one more is refused (429)")
    max_concurrent_tokens: int = flag(16384, "tokens of all chats at once that the cache may hold, padding included")
    max_tokens_limit: int = flag(4096, "most tokens that a request may ask for")
    max_request_kib: int = flag(1024, "largest request, in KiB; a larger one is refused (413)")
    request_timeout: float = flag(600.0, "seconds after which a request is given up (504)")


def check(parsed: Parsed) -> None:
    """Settle the flags in place; ConfigError lists every problem."""
    args = parsed[ServingArguments]
    args.system_prompt = (args.system_prompt or "").strip() or None
    problems = quantisation(args) + template_problems(args) + shared.system_problems(args)
    problems += shared.memory_problems(args) + shared.gpus_problems(args) + shared.outside(args, _limits(args))
    if not is_loopback(args.host) and not api_key():
        problems.append(
            f"--host {args.host}: others can reach it, so a key is needed; put one into the environment, as in: "
            f"export {KEY}=$(openssl rand -hex 24)"
        )
    if problems:
        raise ConfigError(problems)


def _limits(args: ServingArguments) -> shared.Limits:
    return {
        **shared.answer_limits(args),
        "max_new_tokens": (1 <= args.max_new_tokens <= args.max_tokens_limit, "1 to --max_tokens_limit"),
        "temperature": (0 <= args.temperature <= 2, "0 to 2"),
        "port": (0 <= args.port < 65536, "0 (any that is free) to 65535"),
        "max_batch": (args.max_batch >= 1, "at least 1"),
        "max_waiting": (args.max_waiting >= 0, "0 or more"),
        "max_concurrent_tokens": (args.max_concurrent_tokens >= 64, "at least 64"),
        "max_tokens_limit": (args.max_tokens_limit >= 1, "at least 1"),
        "max_request_kib": (args.max_request_kib >= 1, "at least 1"),
        "request_timeout": (args.request_timeout > 0, "more than 0 seconds"),
    }


def api_key() -> str | None:
    """The key that clients must show, from the environment; None if there is none."""
    return os.environ.get(KEY, "").strip() or None
