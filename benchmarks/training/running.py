"""The command: which variants, one process for each, a table, a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.training import rows
from benchmarks.training.case import Case, Variant
from benchmarks.training.shapes import MEASURED, peak_of

LIBRARIES = ("torch", "triton", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "liger-kernel",
             "unsloth", "llamafactory")  # fmt: skip
TINY = {"model": "tiny", "rows": 2, "length": 96, "steps": 3, "skip": 1, "device": "cpu"}
BASELINES = {"sft": "trl", "dpo": "trl_dpo", "rm": "trl_rm"}
CONFIGURATIONS = Path(__file__).resolve().parent.parent.parent / "accelerate"
_LEAST = 20  # seconds that must be left for another variant to start


def parser(doc: str, against: str) -> argparse.ArgumentParser:
    """The flags of these benchmarks."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--variants", help="names joined by commas; * stands for any letters (--list shows them)")
    made.add_argument("--list", action="store_true", help="what each variant is; those of the default list have a *")
    made.add_argument("--model", choices=MEASURED, help="shape for all variants")
    made.add_argument("--rows", type=int, help="rows (or pairs) in a micro-batch")
    made.add_argument("--length", type=int, help="tokens of the longest row (2048)")
    made.add_argument("--steps", type=int, help="optimizer steps of each variant (12)")
    made.add_argument("--skip", type=int, help="first steps that do not count (4)")
    made.add_argument("--peak_tflops", type=float, help="the device's dense bfloat16 rate, for the utilisation")
    made.add_argument(
        "--budget", type=float, default=470, help="seconds for all; variants that do not fit are left out"
    )
    made.add_argument("--each", type=float, help="seconds for one variant (150)")
    made.add_argument("--against", default=against, help="the variant that others are compared with (%(default)s)")
    made.add_argument("--json", help="write the figures here")
    made.add_argument("--work", help="keep rows, weights and logs here (default: a directory that is removed)")
    made.add_argument("--tiny", action="store_true", help="smoke test: a tiny model on the CPU, all variants")
    made.add_argument("--check", action="store_true", help="kernels on and off against float32: loss and gradients")
    made.add_argument("--measure", help=argparse.SUPPRESS)
    return made


def command(
    file: str, doc: str, stage: str, variants: dict[str, Variant], default: list[str],
    check: Callable[[Any], bool] | None, argv: list[str] | None, against: str | None = None,
    more: Callable[[dict[str, dict]], list[str]] = lambda _: [],
) -> None:  # fmt: skip
    """Run what the flags ask for; exits with 1 if a check fails or no variant could be measured. `more` gives lines
    under the table, `against` is the variant that others are compared with, if not the stage's."""
    flags = parser(doc, against or BASELINES[stage])
    given = flags.parse_args(argv)
    if given.measure:
        return measure_one(variants, Case(**json.loads(given.measure)))
    given.budget = given.budget or (3600.0 if given.tiny else 470.0)
    given.each = given.each or (600.0 if given.tiny else 150.0)
    if given.list:
        for name, variant in variants.items():
            print(f"{'*' if name in default else ' '} {name:24} {variant.about}")
        return None
    cuda = _cuda()
    if given.check:
        warnings.filterwarnings("ignore")
        sys.exit(0 if check("cuda" if cuda and not given.tiny else "cpu") else 1)
    if not cuda and not given.tiny:
        flags.error("no CUDA GPU here; --tiny is a smoke test on the CPU")
    names = chosen(given.variants, variants, list(variants) if given.tiny else default)
    if isinstance(names, str):
        flags.error(names)
    base = Case("", "", stage)
    wanted = {key: getattr(given, key) for key in ("model", "rows", "length", "steps", "skip")}
    with tempfile.TemporaryDirectory() as place:
        base = replace(base, work=str(Path(given.work or place).resolve()))
        cases = {name: _settled(variants[name].case(base, name), wanted, given.tiny) for name in names}
        found = run_all(file, variants, cases, given)
    peak = given.peak_tflops or peak_of(_device(found))
    lines = [*head(found, argv), *table(found, peak, given.against), *_notes(peak, given.against), *more(found)]
    print("\n".join(lines))
    if given.tiny:
        print("A smoke test: what a tiny model does on a CPU says nothing about speed.")
    if given.json:
        content = {"command": argv or sys.argv[1:], "versions": versions(), "peak_tflops": peak, "variants": found}
        Path(given.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if all("error" in result for result in found.values()):
        sys.exit(1)
    return None


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _settled(case: Case, wanted: dict[str, Any], tiny: bool) -> Case:
    """The flags of the command line over the variant's own settings; a memory point keeps its number of rows."""
    given = {key: value for key, value in wanted.items() if value is not None}
    if tiny:
        given = TINY | {key: value for key, value in given.items() if key != "model"}
    if case.data == "full":
        given.pop("rows", None)
        given |= {"rows": min(case.rows, 2)} if tiny else {}
    case = replace(case, **given)
    return replace(case, rows=case.rows // case.processes) if case.together else case


def chosen(text: str | None, variants: dict[str, Variant], default: list[str]) -> list[str] | str:
    """The variants that a text names, in the order of the table, or a sentence about a name that fits none."""
    if not text:
        return default
    patterns = [word.strip() for word in text.split(",") if word.strip()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in variants):
            return f"--variants {pattern}: no such variant; --list shows them"
    return [name for name in variants if any(fnmatch(name, pattern) for pattern in patterns)]


def write_rows(cases: list[Case]) -> None:
    """The files that these cases read, each with rows enough for the hungriest."""
    needs: dict[str, int] = {}
    for case in cases:
        # Packed, a row of the longest length holds about three documents.
        enough = (
            case.rows * case.processes * (case.steps + 1) * (4 if case.data == "mixed" and case.stage == "sft" else 1)
        )
        name = rows.name_of(case.stage, case.data)
        needs[name] = max(needs.get(name, 16), enough)
    for name, number in needs.items():
        rows.prepare(Path(cases[0].work), name, number, cases[0].length)


def run_all(file: str, variants: dict[str, Variant], cases: dict[str, Case], given: Any) -> dict[str, dict]:
    """The figures of every case, or why there are none, in processes one after the other."""
    begun, found = time.time(), {}
    Path(next(iter(cases.values())).work).mkdir(parents=True, exist_ok=True)
    write_rows(list(cases.values()))
    for name, case in cases.items():
        missing = [package for package in variants[name].needs if find_spec(package) is None]
        left = given.budget - (time.time() - begun)
        if missing:
            found[name] = {"error": f"not installed: {', '.join(missing)}"}
        elif left < _LEAST:
            found[name] = {"error": "left out: the time (--budget) is used up"}
        else:
            found[name] = run_one(file, case, min(given.each, left))
        told = found[name].get("error") or f"{found[name]['tokens_per_s']:,.0f} tokens/s"
        print(f"{name}: {told}", file=sys.stderr, flush=True)
    return found


def run_one(file: str, case: Case, limit: float) -> dict[str, Any]:
    """One case in a process of its own; its output goes to a log in the working directory."""
    log = case.file(f"{case.name}.log")
    words = [*launcher(case), file, "--measure", json.dumps(asdict(replace(case, started=time.time())))]
    environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"} | os.environ
    environment |= {"CUDA_VISIBLE_DEVICES": ""} if case.device == "cpu" else {}
    with open(log, "w", encoding="utf-8") as stream:
        try:
            done = subprocess.run(
                words, stdout=stream, stderr=subprocess.STDOUT, timeout=limit, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {limit:.0f} s{_last(log)}"}
    result = case.file(f"{case.name}.json")
    if not result.is_file():
        return {"error": f"exit code {done.returncode}{_last(log)}"}
    found = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()
    return found


def launcher(case: Case) -> list[str]:
    """What starts the processes of a case, in front of the file that they run."""
    if case.processes == 1:
        return [sys.executable]
    if case.shards == "ddp":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(case.processes)]
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file",
        str(CONFIGURATIONS / f"{case.shards}.yaml"), "--num_processes", str(case.processes),
        "--main_process_port", "0",
    ]  # fmt: skip


def _last(log: Path) -> str:
    """The last line of a log, to say why a process died."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:160]}" if lines else ""


def measure_one(variants: dict[str, Variant], case: Case) -> None:
    """In the process of its own: the figures, or the reason that there are none, to `NAME.json`."""
    try:
        found = variants[case.name].run(case) | {"device": _device_name(case.device)}
    except Exception as error:  # noqa: BLE001 - any reason belongs into the table
        traceback.print_exc()
        text = " ".join(str(error).split())
        found = {"error": f"{type(error).__name__}: {text}"[:200]}
    if int(os.environ.get("RANK", "0")) == 0:
        case.file(f"{case.name}.json").write_text(json.dumps(found), encoding="utf-8")


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"


def _device(found: dict[str, dict]) -> str:
    return next((result["device"] for result in found.values() if "device" in result), "no device")


def versions() -> dict[str, str]:
    """Of the libraries that are there."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def head(found: dict[str, dict], argv: list[str] | None) -> list[str]:
    """What a table needs to be believed: device, versions, command."""
    listed = ", ".join(f"{name} {number}" for name, number in versions().items())
    return [_device(found), listed, "flags: " + (" ".join(sys.argv[1:] if argv is None else argv) or "none"), ""]


COLUMNS = {
    "tokens/s": ("tokens_per_s", "{:,.0f}"),
    "ratio": ("ratio", "{:.2f}"),
    "mean": ("mean_tokens_per_s", "{:,.0f}"),
    "computed/s": ("computed_per_s", "{:,.0f}"),
    "ms/step": ("ms", "{:,.0f}"),
    "real": ("share_real", "{:.0%}"),
    "peak GB": ("peak_gb", "{:.2f}"),
    "reserved": ("reserved_gb", "{:.2f}"),
    "MFU": ("mfu", "{:.1%}"),
    "first step s": ("first_step_s", "{:.1f}"),
    "loss": ("loss", "{:.3f}"),
}


def table(found: dict[str, dict], peak: float | None, against: str | None = None) -> list[str]:
    """Markdown rows, a variant each, with its speed as a multiple of the variant `against`; one that died says why."""
    lines = [f"| variant | {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * len(COLUMNS)}"]
    base = found.get(against, {}).get("tokens_per_s")
    for name, result in found.items():
        if "error" in result:
            cells = [result["error"].replace("|", "/"), *[""] * (len(COLUMNS) - 1)]
        else:
            more = {"mfu": result["tflops"] / peak if peak else None}
            more["ratio"] = result["tokens_per_s"] / base if base else None
            known = result | more
            cells = [form.format(known[key]) if known.get(key) is not None else "-" for key, form in COLUMNS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _notes(peak: float | None, against: str) -> list[str]:
    of = f"{peak:,.0f} TFLOP/s" if peak else "unknown: give --peak_tflops"
    return [
        "",
        f"tokens/s: no padding, median of steps; ratio: of {against}'s; mean: all tokens over all seconds;",
        "computed/s: with padding; real: the share that is no padding.",
        "peak, reserved: torch's allocator while training, GB of 1e9 bytes, without the CUDA context.",
        f"MFU: operations that the tokens need (no padding, no recomputation) of the device's peak ({of}).",
        "first step s: from the start of the process to the end of the first optimizer step.",
    ]
