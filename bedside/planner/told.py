"""A plan in words and columns, for people."""

from __future__ import annotations

from bedside.planner import memory, recipe
from bedside.planner.choose import Plan, limit_of
from bedside.planner.memory import CONTEXT, FULL, PAIRS, QLORA, SAMPLING, fused

_PRECISION = {QLORA: "LoRA on a 4-bit base (QLoRA)", "lora": "LoRA on 16-bit weights", FULL: "every parameter"}


def text(plan: Plan, rows: int, epochs: float, given: dict) -> str:
    """The whole answer: memory, speed, time, settings, command."""
    return "\n\n".join([told(plan, rows, epochs), recipe.command(plan, given)])


def told(plan: Plan, rows: int, epochs: float) -> str:
    """Memory, speed, time and settings of a plan, whether it fits or not."""
    return "\n\n".join([_head(plan), _memory(plan), _time(plan, rows, epochs), _settings(plan)])


def _head(plan: Plan) -> str:
    model, setting = plan.model, plan.setting
    fits = "fits" if plan.peak <= limit_of(plan.card) else "does not fit"
    lines = [
        f"{setting.stage.upper()} of {model.name} ({_count(model.parameters)} parameters) on "
        f"{setting.gpus} x {plan.card.name}: {fits}"
    ]
    lines += [f"  {model.told}"] if model.told else []
    if not plan.card.source:
        lines.append("  taken to have bfloat16, as cards from Ampere on have; name the card if it is older")
    else:
        lines.append(f"  {plan.card.name}: {_rates(plan)}; {plan.card.source}")
    if not fused(model, setting):
        lines.append(f"  counted without the fused kernels: {_why_plain(plan)}")
    return "\n".join(lines)


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e8 else f"{number / 1e6:.2f} million"


def _rates(plan: Plan) -> str:
    card = plan.card
    return f"{card.bytes / 1e9:.1f} GB, {card.bandwidth:,.0f} GB/s, {card.tflops:g} TFLOP/s in 16 bits"


def _why_plain(plan: Plan) -> str:
    setting = plan.setting
    if setting.precision == FULL:
        return "every parameter is trained"
    if setting.stage in SAMPLING:
        return "stages that sample answers were measured without them only"
    if setting.sharding == "fsdp2":
        return "FSDP cuts the weights that they read"
    if not plan.card.bf16:
        return f"{plan.card.name} is older than Ampere, where they are used in part only"
    if setting.dropout > 0:
        return f"--lora_dropout {setting.dropout:g}; they are for 0"
    if not setting.kernels:
        return "they are switched off"
    return "they do not know this family"


def _memory(plan: Plan) -> str:
    parts = memory.parts(plan.model, plan.setting)
    rows = [*parts.items(), ("peak of torch's allocator", plan.peak), ("CUDA context", float(CONTEXT))]
    rows.append(("left on the card", plan.card.bytes - CONTEXT - plan.peak))
    wide = max(len(name) for name, _ in rows)
    lines = ["memory of a card at the worst moment, in GB of 10^9 bytes"]
    digits = 2 if plan.peak >= 1e9 else 4
    lines += [f"  {name:<{wide}}  {size / 1e9:9.{digits}f}" for name, size in rows]
    lines.append(f"  planned with {limit_of(plan.card) / 1e9:.2f}: the rest is for fragments and surprises")
    return "\n".join(lines)


def _time(plan: Plan, rows: int, epochs: float) -> str:
    each = plan.wish.mean * (2 if plan.setting.stage in PAIRS else 1)
    total = rows * each * epochs
    what = "pairs" if plan.setting.stage in PAIRS else "answers" if plan.setting.stage in SAMPLING else "rows"
    data = f"{rows:,} {what} of {each:,.0f} tokens, {epochs:.3g} epoch{'s' if epochs != 1 else ''}"
    if plan.speed is None:
        return (
            f"speed: not told, because of {plan.card.name} only the memory is known; name the card (--gpu 'RTX 4090')"
        )
    expected, least, most = plan.speed.hours(total)
    return (
        f"speed: {_round(plan.speed.tokens)} tokens/s ({_round(plan.speed.low)} to {_round(plan.speed.high)}): "
        f"{plan.speed.why}\ntime:  {data}: {_hours(expected)} ({_hours(least)} to {_hours(most)}), start-up, "
        "evaluation and saving apart"
    )


def _round(rate: float) -> str:
    """To two figures that mean something, three above 100."""
    digits = len(str(int(rate)))
    step = 10 ** max(0, digits - 3)
    return f"{round(rate / step) * step:,.0f}"


def _hours(hours: float) -> str:
    if hours >= 1.95:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours >= 1 / 30 else f"{3600 * hours:.0f} s"


def _settings(plan: Plan) -> str:
    setting, layers = plan.setting, plan.model.shape.layers
    if setting.whole == layers:
        kept = "no layer checkpointed"
    elif setting.whole:
        kept = f"the last {setting.whole} of {layers} layers not checkpointed"
    else:
        kept = "every layer checkpointed"
    words = [_PRECISION[setting.precision], kept]
    words += ["checkpoints on the host"] if setting.offload else []
    words += ["embedding on the host"] if setting.embedding_on_host else []
    words += [f"MLP in tiles of {setting.mlp_tile} tokens"] if setting.mlp_tile else []
    words += ["weights, gradients and states in shards"] if setting.sharding == "fsdp2" else []
    words += ["gradients and states in shards"] if setting.sharding == "zero2" else []
    batch = f"{setting.rows} x {plan.accumulation} accumulated"
    batch += f" x {setting.gpus} cards" if setting.gpus > 1 else ""
    return f"settings: {', '.join(words)}; batch {batch}"
