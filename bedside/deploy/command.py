"""The command that serves a subject on a machine: every choice a flag, every flag of the user's in its place."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedside.deploy import memory
from bedside.deploy.given import Given
from bedside.deploy.machine import Machine, Vllm
from bedside.deploy.subject import Subject
from bedside.errors import ConfigError
from bedside.openers import is_loopback

_BF16 = (8, 0)  # the compute capability from which cards compute in bfloat16
_DTYPES = {"half": "float16", "float": "float32"}
_SAID_ALOUD = ("enable-log-requests", "enable-log-outputs")
# The build for CPUs crashes, and every request with it, when a request with a seed is read in pieces: its random
# numbers cannot be wound back.
_ON_CPU = {"enforce-eager": [], "no-enable-chunked-prefill": []}
_SERVER = ["-m", "vllm.entrypoints.openai.api_server"]


@dataclass(frozen=True)
class Start:
    """A command, what its environment must hold beside what is there, and what to say; `model` is the name that
    clients ask for, `address` where vLLM listens, `url` where this machine reaches it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    told: tuple[str, ...]
    model: str
    address: tuple[str, int]
    url: str
    thinks: bool
    certificate: str | None = None

    def line(self) -> str:
        """The command as a shell would take it, with its environment."""
        return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in self.environment.items()), shlex.join(self.command)])


def compose(subject: Subject, machine: Machine, vllm: Vllm, given: Given, environment: Mapping[str, str]) -> Start:
    """How to serve `subject`; ConfigError with every reason why not."""
    host, port = given.value("host") or "127.0.0.1", int(given.number("port") if given.words("port") else 8000)
    problems = [*_problems(given, vllm, subject), *_spread(given, machine, subject), *_unguarded(host, environment)]
    if problems:
        raise ConfigError(problems)
    told = list(subject.notes)
    dtype = _dtype(subject, machine, given, told)
    room, cards = _room(subject, machine, vllm, dtype, given, environment, told)
    names = given.words("served-model-name") or (subject.name,)
    ours = {
        **_identity(subject, names, given.words("lora-modules") or ()),
        "dtype": [dtype],
        **({"max-model-len": [str(room.length)]} if room.length else {}),
        **({"tensor-parallel-size": [str(cards)]} if not vllm.cpu else _ON_CPU),
        **({"quantization": ["bitsandbytes"]} if room.four_bit else {}),
        **({"gpu-memory-utilization": [str(room.utilisation)]} if room.utilisation else {}),
        **_readers(subject),
        "host": [host],
        "port": [str(port)],
    }
    told += _about(subject, room, vllm)
    if subject.adapter:  # the user's names are the adapter's, not its base's; other adapters stand beside it
        given = given.without("served-model-name", "lora-modules")
    flags = _merged(ours, given, told)
    secure = given.value("ssl-certfile")
    reached = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    reached = f"[{reached}]" if ":" in reached else reached
    return Start(
        (vllm.python, *_SERVER, *flags), _environment(vllm, room, machine, environment), tuple(told), names[0],
        (host, port),
        f"http{'s' if secure else ''}://{reached}:{port}",
        "--reasoning-parser" in flags and not subject.template.thoughts_off, secure,
    )  # fmt: skip


def _problems(given: Given, vllm: Vllm, subject: Subject) -> list[str]:
    wanted = given.value("quantization")
    found = []
    if wanted == "bitsandbytes" and vllm.cpu:
        found.append("--quantization bitsandbytes: vLLM's build for CPUs has no 4-bit kernels; drop the flag")
    elif wanted == "bitsandbytes" and not vllm.bitsandbytes:
        found.append(
            f"--quantization bitsandbytes: not installed; {shlex.quote(vllm.python)} -m pip install bitsandbytes"
        )
    if wanted and wanted not in ("None", "none") and not subject.weights.packed and subject.quantisable:
        found.append(f"--quantization {wanted}: {subject.quantisable}")
    if given.words("max-lora-rank") and int(given.number("max-lora-rank")) < subject.rank:
        found.append(f"--max-lora-rank {given.value('max-lora-rank')}: the adapter's rank needs {subject.rank}")
    return found


_SPREAD = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


def _spread(given: Given, machine: Machine, subject: Subject) -> list[str]:
    """Problems of sharing the model out: cards that are not there, heads that do not divide. vLLM would find them too,
    after a minute and in its log."""
    sizes = {name: int(given.number(name)) for name in (*_SPREAD, "nnodes") if given.words(name)}
    found = [f"--{name} {size}: expected at least 1" for name, size in sizes.items() if size < 1]
    if found or not machine.cards:
        return found
    asked = {name: size for name, size in sizes.items() if name in _SPREAD}
    need, there = math.prod(asked.values()), len(machine.cards) * sizes.get("nnodes", 1)
    if need > there:
        flags = " x ".join(f"--{name} {size}" for name, size in asked.items())
        found.append(f"{flags}: needs {need} cards, {there} are visible; lower it, or check CUDA_VISIBLE_DEVICES")
    heads, cards = memory.shape_of(subject.config).heads, sizes.get("tensor-parallel-size", 1)
    if heads % cards:
        found.append(
            f"--tensor-parallel-size {cards}: the model's {heads} attention heads are not shared out evenly; choose a "
            "divisor, and put layers on further cards with --pipeline-parallel-size"
        )
    return found


def _unguarded(host: str, environment: Mapping[str, str]) -> list[str]:
    if is_loopback(host) or environment.get("VLLM_API_KEY"):
        return []
    return [
        f"--host {host}: other machines would reach the model without a key; set one first: export "
        "VLLM_API_KEY=$(openssl rand -hex 24), and give it to those who may ask"
    ]


def _dtype(subject: Subject, machine: Machine, given: Given, told: list[str]) -> str:
    """The precision: the user's, else the files' as far as the machine computes in it."""
    asked = given.value("dtype")
    if asked and asked != "auto":
        return _DTYPES.get(asked, asked)
    stored = subject.weights.dtype
    if not machine.cards:
        return "float32" if stored == "float32" else "bfloat16"
    if stored == "float16":
        return stored
    slow = next((card for card in machine.cards if card.capability < _BF16), None)
    if slow is None:
        return "bfloat16"
    told.append(f"--dtype float16: {slow.name} does not compute in bfloat16; answers differ a little from training's")
    return "float16"


def _room(
    subject: Subject, machine: Machine, vllm: Vllm, dtype: str, given: Given, environment: Mapping[str, str],
    told: list[str],
) -> tuple[memory.Room, int]:  # fmt: skip
    """What fits, and over how many cards."""
    shape = memory.shape_of(subject.config)
    if vllm.cpu:
        space = environment.get("VLLM_CPU_KVCACHE_SPACE")
        cache = int(space) if space and space.isdigit() else None
        return memory.on_cpu(shape, subject.weights, dtype, machine.memory, cache), 1
    copies = int(given.number("data-parallel-size") or 1) * int(given.number("pipeline-parallel-size") or 1)
    free = max(1, len(machine.cards) // copies)
    cards = int(given.number("tensor-parallel-size") or memory.cards_used(free, shape))
    if cards < free and not given.words("tensor-parallel-size"):
        told.append(
            f"--tensor-parallel-size {cards}: {free} cards are visible, and the model's {shape.heads} attention heads "
            f"({shape.kv_heads} of keys) are not shared out evenly over more"
        )
    asked = given.value("quantization")
    four_bit = asked == "bitsandbytes" if asked else None if vllm.bitsandbytes and not subject.quantisable else False
    room = memory.on_cards(
        shape, subject.weights, dtype, cards * int(given.number("pipeline-parallel-size") or 1),
        min(card.total for card in machine.cards), min(card.free for card in machine.cards), subject.adapter_bytes,
        four_bit, given.number("gpu-memory-utilization", float),
        1 if (given.value("kv-cache-dtype") or "").startswith("fp8") else 2,
    )  # fmt: skip
    return room, cards


def _identity(subject: Subject, names: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """Which files are the model, its tokenizer and its adapter, and what clients call it; `others` are adapters that
    the user adds."""
    flags = {"model": [subject.base]}
    if subject.text != subject.base:
        flags["tokenizer"] = [subject.text]
    if subject.generation_config:
        flags["generation-config"] = [subject.text]
    if subject.adapter is None:
        return {**flags, "served-model-name": list(names)}
    modules = [_module(name, subject.adapter) for name in names]
    flags |= {"served-model-name": [f"{name}-base" for name in names], "enable-lora": []}
    return {**flags, "lora-modules": [*modules, *others], "max-lora-rank": [str(subject.rank)]}


def _module(name: str, path: str) -> str:
    """An adapter as --lora-modules takes it; commas and equals signs need the long form."""
    short = not any(mark in name + path for mark in ",=")
    return f"{name}={path}" if short else json.dumps({"name": name, "path": path})


def _readers(subject: Subject) -> dict[str, list[str]]:
    """The template, and the parsers that take its answers apart."""
    template, flags = subject.template, {}
    if template.file:
        flags["chat-template"] = [template.file]
    if template.reasoning_parser and template.thinking != "none":
        flags["reasoning-parser"] = [template.reasoning_parser]
    if template.thoughts_off:
        flags["default-chat-template-kwargs"] = [json.dumps({"enable_thinking": False})]
    if template.tool_parser:
        flags |= {"enable-auto-tool-choice": [], "tool-call-parser": [template.tool_parser]}
    return flags


def _about(subject: Subject, room: memory.Room, vllm: Vllm) -> list[str]:
    """What the user should know before the first answer."""
    told, template, quant = list(room.told), subject.template, subject.trained_quant
    if template.thinking != "none" and not template.reasoning_parser:
        told.append(
            f"template {template.name}: it mentions thoughts, and no parser is known for it; thoughts stay in the "
            "answer unless you add one, as --reasoning-parser qwen3 (never for a model that does not think)"
        )
    if template.thoughts_off:
        told.append("the model was trained without thoughts: answers come without one unless a request asks for it")
    if quant and not room.four_bit:
        bits = "8-bit" if quant.get("bits") == 8 else f"4-bit {quant.get('type', 'nf4').upper()}"
        can = bits.startswith("4") and vllm.bitsandbytes and not vllm.cpu
        told.append(
            f"the adapter was trained on a {bits} base and is served on one in 16 or 32 bits: answers differ a little "
            "from those of inference.py" + (" (as in training: --quantization bitsandbytes)" if can else "")
        )
    if subject.stops_missing:
        told.append(
            f"generation_config.json does not name the stop ids {list(subject.stops_missing)} of training: answers "
            "may run on; merge again, or copy that file from the trained directory"
        )
    return told


def _merged(ours: dict[str, list[str]], given: Given, told: list[str]) -> list[str]:
    """Our flags without those that the user gives, then the user's; what that changes is told."""
    theirs = dict(given.vllm)
    flags: list[str] = []
    for name, words in ours.items():
        other = name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"
        spelled = next((n for n in (name, other) if n in theirs), None)
        if spelled is None:
            flags += [f"--{name}", *words]
        elif list(theirs[spelled]) != words and name not in ("host", "port"):
            told.append(f"{shlex.join([f'--{spelled}', *theirs[spelled]])} is yours, in place of "
                        f"{shlex.join([f'--{name}', *words])}")  # fmt: skip
    if "chat-template" in theirs:
        told.append("--chat-template is yours: prompts may not be those of training")
    told += [f"--{name}: patients' text will stand in the log" for name in _SAID_ALOUD if name in theirs]
    if "trust-remote-code" in theirs:
        told.append("--trust-remote-code: Python code that lies beside the model will run; read it first")
    for name, words in given.vllm:
        flags += [f"--{name}", *words]
    return flags


def _environment(vllm: Vllm, room: memory.Room, machine: Machine, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to set: nothing leaves the machine, and workers of one machine talk over its own address."""
    wanted = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}
    if vllm.cpu:
        wanted |= {"CUDA_VISIBLE_DEVICES": "", "VLLM_CPU_KVCACHE_SPACE": str(room.cache_gib)}
    elif machine.cards:
        wanted["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return {name: value for name, value in wanted.items() if name not in environment or name == "CUDA_VISIBLE_DEVICES"}
