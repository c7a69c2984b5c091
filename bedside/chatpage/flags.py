"""The flags of both chat pages, and their check against each other: every conflict at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedside import templates
from bedside.answers import Sampling
from bedside.args import flag
from bedside.cli import Parsed
from bedside.data.conversation import RowError, check_conversation
from bedside.errors import ConfigError
from bedside.inference_flags import memory_problems
from bedside.openers import is_loopback
from bedside.settle import quantisation

PASSWORD = "BEDSIDE_PAGE_PASSWORD"
# What says how a model is loaded in this process, and means nothing where servers answer.
_LOADING = (
    "tokenizer_path", "cache_dir", "model_revision", "template_name", "dtype", "device_map", "attn_implementation",
    "load_in_4bit", "load_in_8bit", "quantization_bit", "memory_gb", "only_cpu",
)  # fmt: skip


@dataclass
class PageArguments:
    """A chat in the browser: with one model, or with two side by side."""

    base_model: str = flag(
        "models/starter", "model directory or hub name", ("model_name_or_path", "base_model_name_or_path")
    )
    lora_model: str | None = flag(None, "adapter directory", ("peft_path", "adapter_name_or_path", "peft_model_path"))
    server: str | None = flag(
        None, "address of an OpenAI-compatible server that answers instead, as http://127.0.0.1:8000", ("base_url",)
    )
    served_model: str | None = flag(None, "name of the model on --server (default: its only one)")
    compare_base_model: str | None = flag(None, "second model, which answers the same questions beside the first")
    compare_lora_model: str | None = flag(None, "adapter of the second model")
    compare_server: str | None = flag(None, "server of the second model")
    compare_served_model: str | None = flag(None, "name of the second model on its server")
    tokenizer_path: str | None = flag(None, "tokenizer, if not the model's own", ("tokenizer_name_or_path",))
    template_name: str | None = flag(None, "chat template (default: the one saved with the model)", ("template",))
    cache_dir: str | None = flag(None, "where downloaded models are kept")
    model_revision: str = flag("main", "branch, tag or commit of a hub model", ("revision",))
    dtype: str = flag(
        "auto",
        "precision: auto, bfloat16, float16 or float32",
        ("torch_dtype", "infer_dtype"),
        ("auto", "bfloat16", "bf16", "float16", "fp16", "float32", "fp32"),
    )
    device_map: str | None = flag(None, "auto spreads the model over all GPUs", (), ("auto",))
    attn_implementation: str | None = flag(None, "sdpa, eager, flash_attention_2, ...")
    load_in_4bit: bool = flag(False, "hold the base in 4-bit NF4")
    load_in_8bit: bool = flag(False, "hold the base in 8-bit")
    quantization_bit: int | None = flag(None, "4 or 8, LLaMA-Factory's spelling of the two flags above")
    memory_gb: float | None = flag(
        None,
        "GB of GPU memory to stay within, for each model (of host memory without a GPU): picks the best precision",
    )
    only_cpu: bool = flag(False, "run on the CPU although there is a GPU", ("use_cpu", "no_cuda"))
    gpus: str | None = flag(None, "not supported: set CUDA_VISIBLE_DEVICES")
    resize_emb: bool = flag(False, "accepted: the base's rows are never changed")
    finetuning_type: str = flag("lora", "accepted: adapters are told by --lora_model", (), ("lora", "full"))
    enable_thinking: bool | None = flag(None, "False asks a hybrid model to answer without a thought")
    system_prompt: str | None = flag(None, "system turn the page begins with; it can be changed there")
    max_new_tokens: int = flag(512, "longest answer, thought included, in tokens; can be changed on the page")
    temperature: float = flag(0.7, "0 takes the likeliest token every time; can be changed on the page")
    top_p: float = flag(0.9, "sample from the smallest set of tokens with this probability, 0..1")
    top_k: int = flag(0, "sample from the K likeliest tokens; 0 is all")
    repetition_penalty: float = flag(1.0, "above 1 makes repeated tokens less likely")
    language: str = flag(
        "auto", "language of the page: zh, en, or auto, the browser's; can be changed there", (), ("zh", "en", "auto")
    )
    host: str = flag("127.0.0.1", "address the page listens on; another machine needs a password", ("server_name",))
    port: int | None = flag(None, "port the page listens on (default: the page's own)", ("server_port",))
    share: bool = flag(False, "not supported: conversations do not travel over other people's machines")


def check(parsed: Parsed, environment: Mapping[str, str]) -> None:
    """Settle the flags in place; ConfigError lists every problem."""
    args, given = parsed[PageArguments], parsed.given
    problems = [*quantisation(args), *_models(args, given), *_limits(args), *_texts(args), *memory_problems(args)]
    if not is_loopback(args.host) and not environment.get(PASSWORD):
        problems.append(
            f"--host {args.host}: others can reach this address; set a password for the user `bedside` in the "
            f"environment variable {PASSWORD}, or drop --host"
        )
    if args.share:
        problems.append(
            "--share True: not offered, it would lead conversations through another company's server; use --host"
        )
    if args.gpus is not None:
        problems.append(f"--gpus {args.gpus}: set CUDA_VISIBLE_DEVICES={args.gpus} in front of the command instead")
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
        loading = [f"--{name}" for name in _LOADING if name in given]
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


def _limits(args: PageArguments) -> list[str]:
    limits = {
        "max_new_tokens": (args.max_new_tokens >= 1, "at least 1"),
        "temperature": (args.temperature >= 0, "0 or more"),
        "top_p": (0 < args.top_p <= 1, "more than 0 and at most 1"),
        "top_k": (args.top_k >= 0, "0 (all) or more"),
        "repetition_penalty": (args.repetition_penalty > 0, "more than 0; 1 changes nothing"),
        "memory_gb": (args.memory_gb is None or args.memory_gb > 0, "more than 0, as 8 or 11.5"),
        "port": (args.port is None or 0 < args.port < 65536, "1 to 65535"),
    }
    return [f"--{name} {getattr(args, name)}: expected {text}" for name, (good, text) in limits.items() if not good]


def _texts(args: PageArguments) -> list[str]:
    problems = []
    if args.template_name:
        try:
            args.template_name = templates.get(args.template_name).name
        except ConfigError as error:
            problems += error.problems
    return [*problems, *(f"--system_prompt: {told}" for told in refused(args.system_prompt))]


def refused(system: str | None) -> list[str]:
    """Why this cannot be a system prompt, as no sentence or one; none for an empty one."""
    if not (system or "").strip():
        return []
    try:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": "?"}]
        check_conversation({"messages": turns}, answered=False)
    except RowError as error:
        return [error.detail]
    return []


def sampling(args: PageArguments, temperature: float | None = None, max_new_tokens: float | None = None) -> Sampling:
    """The settings of an answer: those of the flags, but for what was changed on the page."""
    return Sampling(
        args.max_new_tokens if max_new_tokens is None else max(1, int(max_new_tokens)),
        args.temperature if temperature is None else max(0.0, float(temperature)),
        args.top_p, args.top_k, args.repetition_penalty,
    )  # fmt: skip
