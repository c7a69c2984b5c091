"""The flags of both chat pages, and their check against each other: every conflict at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedside import inference_flags as shared
from bedside.answers import Sampling
from bedside.args import flag
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.inference_flags import same
from bedside.openers import is_loopback
from bedside.settle import quantisation, template_problems

PASSWORD = "BEDSIDE_PAGE_PASSWORD"


@dataclass
class PageArguments:
    """A chat in the browser: with one model, or with two side by side."""

    base_model: str = same("base_model")
    lora_model: str | None = same("lora_model")
    server: str | None = flag(
        None, "address of an OpenAI-compatible server that answers instead, as http://127.0.0.1:8000", ("base_url",)
    )
    served_model: str | None = flag(None, "name of the model on --server (default: its only one)")
    compare_base_model: str | None = flag(None, "second model, which answers the same questions beside the first")
    compare_lora_model: str | None = flag(None, "adapter of the second model")
    compare_server: str | None = flag(None, "server of the second model")
    compare_served_model: str | None = flag(None, "name of the second model on its server")
    tokenizer_path: str | None = same("tokenizer_path")
    template_name: str | None = same("template_name")
    cache_dir: str | None = same("cache_dir")
    model_revision: str = same("model_revision")
    dtype: str = same("dtype")
    device_map: str | None = same("device_map")
    attn_implementation: str | None = same("attn_implementation")
    load_in_4bit: bool = same("load_in_4bit")
    load_in_8bit: bool = same("load_in_8bit")
    quantization_bit: int | None = same("quantization_bit")
    memory_gb: float | None = same(
        "memory_gb",
        "GB of GPU memory to stay within, for each model (of host memory without a GPU): picks the best precision",
    )
    only_cpu: bool = same("only_cpu")
    gpus: str | None = same("gpus")
    resize_emb: bool = same("resize_emb")
    finetuning_type: str = same("finetuning_type")
    enable_thinking: bool | None = same("enable_thinking")
    system_prompt: str | None = same("system_prompt", "system turn the page begins with; it can be changed there")
    max_new_tokens: int = same(
        "max_new_tokens", "longest answer, thought included, in tokens; can be changed on the page"
    )
    temperature: float = same("temperature", "0 takes the likeliest token every time; can be changed on the page")
    top_p: float = same("top_p")
    top_k: int = same("top_k")
    repetition_penalty: float = same("repetition_penalty")
    language: str = flag(
        "auto", "language of the page: zh, en, or auto, the browser's; can be changed there", (), ("zh", "en", "auto")
    )
    host: str = flag("127.0.0.1", "address the page listens on; another machine needs a password", ("server_name",))
    port: int | None = flag(None, "port the page listens on (default: the page's own)", ("server_port",))
    share: bool = flag(False, "not supported: conversations do not travel over other people's machines")


def check(parsed: Parsed, environment: Mapping[str, str]) -> None:
    """Settle the flags in place; ConfigError lists every problem."""
    args, given = parsed[PageArguments], parsed.given
    problems = quantisation(args) + _models(args, given) + shared.outside(args, _limits(args))
    problems += template_problems(args) + shared.system_problems(args) + shared.memory_problems(args)
    if not is_loopback(args.host) and not environment.get(PASSWORD):
        problems.append(
            f"--host {args.host}: others can reach this address; set a password for the user `bedside` in the "
            f"environment variable {PASSWORD}, or drop --host"
        )
    if args.share:
        problems.append(
            "--share True: not offered, it would lead conversations through another company's server; use --host"
        )
    problems += shared.gpus_problems(args)
    if problems:
        raise ConfigError(problems)


def _models(args: PageArguments, given: set[str]) -> list[str]:
    problems = []
    for server, *names in (("server", "base_model", "lora_model"), ("compare_server", "compare_base_model",
                            "compare_lora_model")):  # fmt: skip
        local = [f"--{name}" for name in names if name in given and getattr(args, name)]
        if getattr(args, server) and local:
            problems.append(f"--{server} and {' and '.join(local)}: the server has its own model; give one of them")
        served = "served_model" if server == "server" else "compare_served_model"
        if getattr(args, served) and not getattr(args, server):
            problems.append(f"--{served}: names a model on --{server}, which is not given")
    if args.server and not (args.compare_base_model or args.compare_lora_model):
        loading = [f"--{name}" for name in shared.LOADING if name in given - {"base_model", "lora_model"}]
        if loading:
            problems.append(f"{' and '.join(loading)}: no model is loaded here, a server answers; drop the flag")
    second = args.compare_base_model or args.compare_lora_model
    if second and not args.server:
        problems += [
            f"--{name}: the two models have tokenizers and templates of their own, saved with each; drop the flag"
            for name in ("tokenizer_path", "template_name")
            if getattr(args, name)
        ]
    paths = (args.lora_model, args.compare_lora_model)
    return problems + [f"{path}: no such adapter directory" for path in paths if path and not Path(path).is_dir()]


def _limits(args: PageArguments) -> shared.Limits:
    return shared.answer_limits(args) | {"port": (args.port is None or 0 < args.port < 65536, "1 to 65535")}


def sampling(args: PageArguments, temperature: float | None = None, max_new_tokens: float | None = None) -> Sampling:
    """The settings of an answer: those of the flags, but for what was changed on the page."""
    return Sampling(
        args.max_new_tokens if max_new_tokens is None else max(1, int(max_new_tokens)),
        args.temperature if temperature is None else max(0.0, float(temperature)),
        args.top_p, args.top_k, args.repetition_penalty,
    )  # fmt: skip
