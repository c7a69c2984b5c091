"""A vLLM server that takes the policy's weights from PPO, on this machine only.

    python -m bedside.ppo.vllm_server --model outputs-sft
    python -m bedside.ppo.vllm_server --model BASE --port 8001 -- --gpu-memory-utilization 0.5 --max-model-len 2048

Runs in the environment where vLLM is installed, beside the trainer (ppo_training.py --use_vllm True). --model is the
policy's base, or an adapter, whose base is served; what stands behind `--` goes to vLLM as it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from bedside import errors, lineage, models
from bedside.errors import ConfigError
from bedside.openers import is_loopback

_ROOT = Path(__file__).resolve().parents[2]
_RECEIVER = "bedside.ppo.vllm_worker.WeightReceiver"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes
_RANK = 16  # room for adapters where --model is none itself
# What of vLLM's flags is decided here.
_OURS = {
    "--model": "give it before --",
    "--host": "give it before --",
    "--port": "give it before --",
    "--max-lora-rank": "give it before --",
    "--worker-extension-cls": "it is bedside's, which takes the policy's weights; drop the flag",
    "--quantization": "the policy's weights come in 16 or 32 bits; drop the flag",
    "-q": "the policy's weights come in 16 or 32 bits; drop the flag",
}
# Both open addresses of the server that load weights; the first has no key, hence the loopback address alone.
_ENVIRONMENT = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
_UNLESS_SET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}


class Start(NamedTuple):
    """A command and the environment that it needs."""

    command: list[str]
    environment: dict[str, str]


def start(argv: list[str], environment: dict[str, str], python: str = sys.executable) -> Start:
    """How to start vLLM for `argv` of this command; ConfigError for what would not serve PPO."""
    args, rest = _parsed(argv)
    problems = []
    if not is_loopback(args.host):
        problems.append(
            f"--host {args.host}: weights are taken without a key, so the server listens to this machine alone; drop "
            "the flag, and reach it from another machine through a tunnel (ssh -L)"
        )
    named = {flag.partition("=")[0].replace("_", "-") for flag in rest}
    problems += [f"{flag} behind --: {_OURS[flag]}" for flag in sorted(named & set(_OURS))]
    if problems:
        raise ConfigError(problems)
    models.check_model_path(args.model, "--model")
    base, revision, rank = _base(args.model)
    rank = args.max_lora_rank or rank
    command = [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", base, "--host", args.host, "--port",
        str(args.port), "--worker-extension-cls", _RECEIVER, "--generation-config", "vllm",
        "--logprobs-mode", "processed_logprobs",  # those of what is sampled, at its temperature
        "--disable-uvicorn-access-log", "--enable-lora", "--max-loras", "1", "--max-cpu-loras", "2",
        "--max-lora-rank", str(rank),
    ]  # fmt: skip
    command += ["--revision", revision] if revision != "main" else []
    paths = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return Start([*command, *rest], _UNLESS_SET | environment | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)})


def _parsed(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own flags, and vLLM's."""
    parser = argparse.ArgumentParser(
        prog="python -m bedside.ppo.vllm_server", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s --model MODEL [flags] [-- vLLM's flags]",
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="the policy's base, or an adapter on it")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    parser.add_argument(
        "--max-lora-rank", type=int, choices=_RANKS, help="of the policy's adapter (default: --model's)"
    )
    own = argv.index("--") if "--" in argv else len(argv)
    return parser.parse_args(argv[:own]), argv[own + 1 :]


def _base(model: str) -> tuple[str, str, int]:
    """The model to serve, its revision, and the rank to make room for."""
    resolved = lineage.resolve(model, command="give its base: python -m bedside.ppo.vllm_server --model {base}")
    base = str(Path(resolved.base).resolve()) if Path(resolved.base).is_dir() else resolved.base
    if resolved.adapter is None:
        return base, resolved.revision, _RANK
    config = json.loads((Path(resolved.adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    need = max([config.get("r") or 0, *(config.get("rank_pattern") or {}).values()])
    return base, resolved.revision, next((rank for rank in _RANKS if rank >= need), _RANKS[-1])


def main(argv: list[str] | None = None) -> None:
    """Become the server."""
    begun = start(sys.argv[1:] if argv is None else argv, dict(os.environ))
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"{sys.executable} has no vLLM; run this command with the Python of the environment that has it (on a "
            "CPU: sh run_tests.sh --serve makes .serve-venv from requirements-serve-cpu.txt)"
        )
    os.execve(begun.command[0], begun.command, begun.environment)


if __name__ == "__main__":
    errors.run_command(main)
