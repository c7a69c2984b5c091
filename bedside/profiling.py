"""`--profile N`: where the time of N training steps goes, as a table and as a trace for a viewer.

On a GPU kernels are counted, each moment once: a copy that runs beside a kernel costs nothing, and what no kernel
fills is idle. On a CPU operators are counted by their own time. Profiled steps are slower than others by what
recording costs; their shares are what counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bedside import logs
from bedside.errors import ConfigError

WARM_UP = 3  # steps before the first that is profiled: kernels are compiled and memory is laid out in them
IDLE, OTHER, COPIES = "idle", "other", "copies"
# Kinds by what is in a kernel's or an operator's name; the first that fits counts. Attention stands before products,
# because its kernels name the same building blocks, and the optimizer before all: it is made of everything.
KINDS = {
    "optimizer": r"Optimizer\.step|multi_tensor_apply|_foreach_|fused_adam|kOptimizer|kPreconditionOptimizer",
    "communication": r"nccl|c10d::|gloo:|all_?reduce|all_?gather|reduce_?scatter",
    "dequantise": r"dequanti[sz]e|kDequantize|nf4_|kQuantize|quantize_4bit|quantize_blockwise",
    "loss": r"cross_?entropy|nll_loss|log_?softmax|cunn_SoftMax|logsumexp|liger_.*loss|element_mul_kernel",
    "attention": r"flash|fmha|attention|attn|varlen|softmax",
    "GEMM": r"gemm|gemv|nvjet|cutlass|xmma|cublas|split_?k|^aten::(mm|addmm|bmm|baddbmm|dot|mv|addmv|_int_mm)_?$",
    COPIES: r"^Memcpy|^Memset|^aten::(copy_|_to_copy|clone|contiguous|_pin_memory)$",
    "norms, activations, elementwise": r"rms_?norm|layer_?norm|rotary|rope|swiglu|silu|elementwise|reduce_kernel"
    r"|triton_(poi|red|per)|CatArray|index|gather|scatter|embedding|dropout|distribution|scan|sort|cumsum|fill|arange"
    r"|^aten::(mul|add|sub|div|neg|pow|r?sqrt|mean|sum|cat|sigmoid|exp|log|where|zero|lerp|addc|cos|sin|max|min|amax"
    r"|eq|ne|gt|lt|ge|le|clamp|bitwise|any|all|norm|linalg|native_dropout|bernoulli)",
}  # fmt: skip
_ENGINE = re.compile(r"^(autograd::engine|torch::autograd|Optimizer\.zero_grad|ProfilerStep)|Backward\d*$|Function$")
_OF_OPTIMIZER = "Optimizer.step: "


class Piece(NamedTuple):
    """Something that ran on a device: its name, and when it began and ended, in microseconds."""

    name: str
    start: float
    end: float


class Row(NamedTuple):
    """A line of the table: milliseconds a step, the share of the whole, the names that took most of it."""

    kind: str
    milliseconds: float
    share: float
    names: tuple[str, ...]


def kind_of(name: str) -> str:
    """The kind of a kernel or operator by its name."""
    return next((kind for kind, words in KINDS.items() if re.search(words, name, re.IGNORECASE)), OTHER)


def on_timeline(pieces: Iterable[Piece]) -> dict[str, float]:
    """Microseconds by name, from the first piece's start to the last one's end, each moment counted once: for what
    computes before what copies, for what began first. `idle` is when nothing ran."""
    pieces = [piece for piece in pieces if piece.end > piece.start]
    moments = sorted(
        [(piece.start, 1, index) for index, piece in enumerate(pieces)]
        + [(piece.end, 0, index) for index, piece in enumerate(pieces)]
    )
    copies = {index for index, piece in enumerate(pieces) if kind_of(piece.name) == COPIES}
    running: dict[bool, dict[int, None]] = {True: {}, False: {}}  # by "is a copy", in the order of their starts
    times: dict[str, float] = {}
    for place, (moment, begins, index) in enumerate(moments):
        group = running[index in copies]
        if begins:
            group[index] = None
        else:
            del group[index]
        if place + 1 < len(moments):
            first = next(iter(running[False] or running[True]), None)
            name = IDLE if first is None else pieces[first].name
            times[name] = times.get(name, 0.0) + moments[place + 1][0] - moment
    return times


def table(times: Mapping[str, float], steps: int) -> list[Row]:
    """Microseconds by name as rows by kind, the longest first, `other` and `idle` last."""
    whole = sum(times.values()) or 1.0
    kinds: dict[str, dict[str, float]] = {}
    for name, time in times.items():
        kinds.setdefault(IDLE if name == IDLE else kind_of(name), {})[name] = time
    rows = []
    for kind, names in kinds.items():
        most = sorted(names, key=names.get, reverse=True)[: 5 if kind == OTHER else 2]
        time = sum(names.values())
        rows.append(Row(kind, time / 1000 / steps, time / whole, () if kind == IDLE else tuple(most)))
    return sorted(rows, key=lambda row: (row.kind == IDLE, row.kind == OTHER, -row.milliseconds))


def _short(name: str) -> str:
    """A kernel's name without its templates and arguments, as a word that a table can hold."""
    name = name.removeprefix("void ").removeprefix(_OF_OPTIMIZER).replace("(anonymous namespace)::", "")
    bare = re.sub(r"<.*|\(.*", "", name).split("::")
    return (("aten::" if bare[0] == "aten" else "") + (bare[-1] or name))[:60].replace("|", " ")


def as_markdown(rows: list[Row], steps: int, where: str, notes: Iterable[str] = ()) -> str:
    """The table as it is printed and written."""
    whole = sum(row.milliseconds for row in rows)
    lines = [
        f"# Where the time of a step goes: {steps} step(s) on {where}, {whole:.1f} ms each",
        "",
        "| kind | ms a step | share | mostly |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in rows:
        names = ", ".join(dict.fromkeys(map(_short, row.names)))
        lines.append(f"| {row.kind} | {row.milliseconds:.2f} | {100 * row.share:.1f} % | {names} |")
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def of_card(events: Iterable[Any]) -> list[Piece]:
    """Kernels and copies of a GPU among a profiler's events; not the marks that people and libraries set."""
    return [
        Piece(event.name, event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
        and not _ENGINE.search(event.name) and not event.name.startswith("Optimizer.step")
    ]  # fmt: skip


def of_cpu(events: Iterable[Any]) -> dict[str, float]:
    """Microseconds by operator, without what it called; `idle` is the rest of the steps: Python, data, the engine."""
    times: dict[str, float] = {}
    whole = 0.0
    for event in events:
        if event.device_type.name != "CPU":
            continue
        if event.name.startswith("ProfilerStep"):
            whole += event.time_range.end - event.time_range.start
        elif not _ENGINE.search(event.name):
            name = f"{_OF_OPTIMIZER}{event.name}" if _in_optimizer(event) else event.name
            times[name] = times.get(name, 0.0) + event.self_cpu_time_total
    return {**times, IDLE: max(0.0, whole - sum(times.values()))}


def _in_optimizer(event: Any) -> bool:
    while event is not None:
        if event.name.startswith("Optimizer.step"):
            return True
        event = event.cpu_parent
    return False


def write(profiler: Any, directory: Path, steps: int, card: str | None, notes: Iterable[str] = ()) -> None:
    """`trace.json.gz` and `profile.md` into `directory`, and the table to the log."""
    directory.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(directory / "trace.json.gz"))
    events = profiler.events()
    times = on_timeline(of_card(events)) if card else of_cpu(events)
    text = as_markdown(table(times, steps), steps, card or "the CPU (operators)", notes)
    (directory / "profile.md").write_text(text, encoding="utf-8")
    for line in filter(None, text.splitlines()):
        logs.info(line.removeprefix("# "))
    logs.info(f"profile: {directory}/profile.md; {directory}/trace.json.gz opens in https://ui.perfetto.dev")


class Recording:
    """A profiler over whole steps of a training, told of each one; writes when it has seen `steps` after WARM_UP."""

    def __init__(self, steps: int, directory: Path, device: Any):
        import torch

        self.steps, self.directory = steps, directory
        self.done, self.written, self.notes = 0, False, []
        on_card = device.type == "cuda"
        self.card = torch.cuda.get_device_name(device) if on_card else None
        kinds = torch.profiler.ProfilerActivity
        self.profiler = torch.profiler.profile(
            activities=[kinds.CPU, kinds.CUDA] if on_card else [kinds.CPU],
            schedule=torch.profiler.schedule(wait=WARM_UP - 1, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._ready,
        )
        self.profiler.start()

    def _ready(self, profiler: Any) -> None:
        self.written = True
        write(profiler, self.directory, self.done - WARM_UP, self.card, self.notes)

    def step(self) -> None:
        """An optimizer step has ended."""
        self.done += 1
        if not self.written:
            self.profiler.step()
            if self.written:
                self.profiler.stop()

    def interrupted(self) -> None:
        """Something other than training runs between two steps."""
        if WARM_UP <= self.done < WARM_UP + self.steps and not self.notes:
            self.notes.append("An evaluation or a save ran between the profiled steps and is counted with them.")

    def end(self) -> None:
        """No step follows: what was recorded is written, with a note if it is less than asked for."""
        if self.written:
            return
        if self.done > WARM_UP:
            self.notes.append(f"The run ended {WARM_UP + self.steps - self.done} step(s) before those asked for.")
        else:
            self.profiler.on_trace_ready = None
            logs.warn(
                f"--profile {self.steps}: the run had {self.done} step(s), and the first {WARM_UP} are for warming up;"
                f" nothing is written. Give --max_steps {WARM_UP + self.steps} or more"
            )
        self.profiler.stop()


def watch(trainer: Any, steps: int | None, output: Path) -> None:
    """Profile `steps` optimizer steps of `trainer` after WARM_UP others; files go to `output`/profile. None or 0: no.

    A run that ends sooner is profiled as far as it went, and says so. Under several processes the first one is.
    """
    if steps is not None and steps < 0:
        raise ConfigError(f"--profile {steps}: expected a number of steps, such as 3")
    if not steps or logs.rank() > 0:
        return
    from transformers import TrainerCallback

    class Profile(TrainerCallback):
        """Tells a recording of the steps."""

        def on_train_begin(self, args, state, control, **_):
            self.recording = Recording(steps, output / "profile", args.device)

        def on_step_end(self, args, state, control, **_):
            self.recording.step()

        def on_save(self, args, state, control, **_):
            self.recording.interrupted()

        def on_train_end(self, args, state, control, **_):
            self.recording.end()

        def on_evaluate(self, args, state, control, **_):
            if hasattr(self, "recording"):  # an evaluation before the training is no interruption
                self.recording.interrupted()

    trainer.add_callback(Profile())
