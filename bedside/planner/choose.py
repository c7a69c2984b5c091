"""The best settings that fit a card: everything that could be set is tried, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from bedside.errors import ConfigError
from bedside.kernels import budget
from bedside.planner import cards, memory, speed
from bedside.planner.cards import Card
from bedside.planner.memory import CONTEXT, FULL, LORA, PAIRS, QLORA, SAMPLING, Setting
from bedside.planner.shapes import Model

LENGTHS = (2048, 1024, 512)  # that are tried where none is asked for
_TILE = 4096
_SAMPLED = (64, 32, 16, 8, 4, 2, 1)
_AS_FAST = 0.97  # of the best speed counts as equal to it, so that fewer flags win
_WHOLE_WEIGHTS = 0.9  # of QLoRA's speed at which unquantised weights are preferred


@dataclass(frozen=True)
class Wish:
    """What is asked for. `length` None: as long as fits; `rows` None: as many as are fast; `mean` tokens of a row."""

    stage: str = "sft"
    precision: str = "auto"
    length: int | None = None
    source: int = 1024
    response: int = 512
    batch: int = 16
    rows: int | None = None
    lora_r: int = 8
    gpus: int = 1
    mean: float = 700.0

    def lengths(self) -> tuple[int, ...]:
        """Lengths to try, longest first."""
        if self.stage in SAMPLING:
            return (self.source,)
        return (self.length,) if self.length else LENGTHS


@dataclass(frozen=True)
class Plan:
    """Settings that fit, what they take and how fast they are."""

    model: Model
    card: Card
    wish: Wish
    setting: Setting
    accumulation: int
    speed: speed.Speed | None

    @property
    def peak(self) -> float:
        """Bytes of one card's allocator."""
        return memory.peak(self.model, self.setting)


def limit_of(card: Card) -> float:
    """Bytes that are planned with: what is left beside the CUDA context, less a share for fragments."""
    return budget.SHARE * (card.bytes - CONTEXT)


def rates(plan: Plan) -> float:
    """Tokens a second, or bytes of room where no rate of the card is known."""
    return plan.speed.tokens if plan.speed else 1.0 / plan.setting.tokens / (1 + plan.accumulation)


def shardings(precision: str, gpus: int) -> tuple[str, ...]:
    """Ways to divide over cards, fastest first."""
    if gpus == 1:
        return ("none",)
    return ("ddp", "zero2", "fsdp2") if precision == FULL else ("ddp", "fsdp2")


def precisions(wish: Wish) -> tuple[str, ...]:
    """What is tried; ConfigError for a stage that cannot train every parameter."""
    if wish.precision == FULL and wish.stage == "ppo":
        raise ConfigError(
            "--precision full with --stage ppo: its four roles are adapters of one base; use lora or qlora"
        )
    return (LORA, QLORA) if wish.precision == "auto" else (wish.precision,)


def batches(wish: Wish) -> list[tuple[int, int]]:
    """`(rows, accumulation)` whose product on all cards is the batch; ConfigError if there is none."""
    each, left = divmod(wish.batch, wish.gpus)
    if left or not each:
        raise ConfigError(
            f"--effective_batch_size {wish.batch} on {wish.gpus} cards: expected a multiple of the cards, such as "
            f"{wish.gpus * max(1, -(-wish.batch // wish.gpus))}"
        )
    if wish.rows:
        if each % wish.rows:
            raise ConfigError(
                f"--per_device_train_batch_size {wish.rows}: does not divide the {each} rows that each card has of a "
                f"step; expected one of {', '.join(str(n) for n in range(1, each + 1) if each % n == 0)}"
            )
        return [(wish.rows, each // wish.rows)]
    return [(rows, each // rows) for rows in range(min(each, _together(wish)), each + 1) if each % rows == 0]


def _together(wish: Wish) -> int:
    """Rows of a micro-batch at least: KTO compares the answers of one."""
    return 2 if wish.stage == "kto" else 1


def settings(
    model: Model, card: Card, wish: Wish, length: int, precision: str, sharding: str
) -> Iterator[tuple[Setting, int]]:
    """Every setting to look at, with its accumulation; how many layers stay whole is open yet. Cards without bfloat16
    are counted without the fused kernels, which keep the plain attention there and were never measured on them."""
    sampling = wish.stage in SAMPLING
    once, both = (False,), (False, True)
    sharded = sharding == "fsdp2"
    on_host = once if precision == FULL or sharded or not model.ends[1] else both
    optims = (
        ("adamw_torch_fused", "adamw_bnb_8bit")
        if precision == FULL and sharding in ("none", "ddp")
        else ("adamw_torch_fused",)
    )
    for (rows, steps), offload, host, optim in product(batches(wish), once if sharded else both, on_host, optims):
        setting = Setting(
            wish.stage, precision, rows, length, wish.response if sampling else 0, wish.lora_r, 0, offload, host, None,
            optim, 0.0, wish.gpus, sharding, 0, card.bf16,
        )  # fmt: skip
        tiles = (None, _TILE) if memory.fused(model, setting) and setting.tokens > _TILE else (None,)
        sampled = [n for n in _SAMPLED if n <= rows * steps] if sampling else [0]
        if wish.stage == "grpo":  # a rollout holds whole micro-batches, and serves whole steps
            sampled = [n for n in sampled if n % rows == 0 and (rows * steps) % n == 0] or [rows * steps]
        for tile, drawn in product(tiles, sampled):
            yield replace(setting, mlp_tile=tile, sampled=drawn), steps


def _filled(model: Model, setting: Setting, limit: float) -> Setting | None:
    """The setting with as many whole layers as fit; None if it does not fit even with none."""
    can = setting.stage not in SAMPLING and setting.sharding != "fsdp2"
    whole = budget.layers_whole(memory.need(model, setting), limit) if can else 0
    made = replace(setting, whole=whole)
    if whole == model.shape.layers and (setting.offload or setting.mlp_tile):
        return None  # there is nothing that these would save
    return made if memory.peak(model, made) <= limit else None


def fitting(model: Model, card: Card, wish: Wish, length: int, precision: str, sharding: str) -> list[Plan]:
    """Every plan of this kind that fits."""
    epochs = 2 if wish.stage == "ppo" else 1
    found = []
    for setting, steps in settings(model, card, wish, length, precision, sharding):
        made = _filled(model, setting, limit_of(card))
        if made is not None:
            quick = speed.speed_of(model, made, card, wish.mean, steps, epochs)
            found.append(Plan(model, card, wish, made, steps, quick))
    return found


def _flags(setting: Setting) -> int:
    """How many settings differ from the plainest."""
    wholly = setting.optim != "adamw_torch_fused"
    return setting.offload + setting.embedding_on_host + (setting.mlp_tile is not None) + 2 * wholly


def _pick(plans: list[Plan]) -> Plan | None:
    """The fastest; of those as fast, the plainest, then the one that needs least."""
    if not plans:
        return None
    best = max(map(rates, plans))
    near = [plan for plan in plans if rates(plan) >= _AS_FAST * best]
    return min(near, key=lambda plan: (_flags(plan.setting), plan.peak))


def best(model: Model, card: Card, wish: Wish) -> Plan:
    """The best plan; ConfigError that says what is smallest and what would fit, if none does."""
    for length in wish.lengths():
        found = {}
        for precision in precisions(wish):
            ways = (fitting(model, card, wish, length, precision, way) for way in shardings(precision, wish.gpus))
            found[precision] = _pick(next((plans for plans in ways if plans), []))
        if whole := _chosen([plan for plan in found.values() if plan]):
            return whole
    raise ConfigError(refusal(model, card, wish))


def _chosen(plans: list[Plan]) -> Plan | None:
    """Of one plan a precision, unquantised weights first: a plan whole on each card goes before a sharded one."""
    whole = [plan for plan in plans if plan.setting.sharding != "fsdp2"] or plans
    if not whole:
        return None
    fastest = max(map(rates, whole))
    return next(plan for plan in whole if rates(plan) >= _WHOLE_WEIGHTS * fastest)


def least(model: Model, card: Card, wish: Wish, length: int) -> Setting:
    """The setting that needs the least memory, on one row."""
    plain = replace(wish, rows=None, batch=wish.gpus * _together(wish))
    tried = [
        setting
        for precision in precisions(wish)
        for way in shardings(precision, wish.gpus)
        for setting, _ in settings(model, card, plain, length, precision, way)
    ]
    return min(tried, key=lambda setting: memory.peak(model, setting))


def refusal(model: Model, card: Card, wish: Wish) -> str:
    """Why nothing fits: the smallest, and what would."""
    length, limit = wish.lengths()[-1], limit_of(card)
    small = least(model, card, wish, length)
    needs = memory.peak(model, small)
    row = "pair" if wish.stage in PAIRS else "row"
    text = (
        f"{model.name} ({wish.stage}) does not fit {wish.gpus} x {card.name}: the smallest setting "
        f"({small.precision}, 1 {row} of {length + small.response:,} tokens, every layer checkpointed) takes "
        f"{needs / 1e9:.1f} GB a card, and {limit / 1e9:.1f} of {card.bytes / 1e9:.1f} GB can be planned with"
    )
    return f"{text}. Would fit: {'; '.join(_ways_out(model, card, wish, length, needs))}"


def _ways_out(model: Model, card: Card, wish: Wish, length: int, needs: float) -> Iterator[str]:
    """What would fit, nearest first."""
    limit = limit_of(card)
    if wish.rows and wish.rows > 1 and needs <= limit:
        yield "a smaller --per_device_train_batch_size, or none"
        return
    for shorter in (half for half in (1024, 512, 256) if half < length):
        if wish.stage not in SAMPLING and memory.peak(model, least(model, card, wish, shorter)) <= limit:
            yield f"--max_length {shorter}"
            break
    if wish.precision in (FULL, LORA):
        freer = replace(wish, precision=QLORA)
        if memory.peak(model, least(model, card, freer, length)) <= limit:
            yield "--precision qlora"
    larger = cards.smallest(needs, CONTEXT, budget.SHARE)
    yield f"a card such as {larger.name}" if larger else "several cards (--gpus 8)" if wish.gpus < 8 else "more cards"
    smaller = fits_of_family(model, card, wish, length)
    if smaller:
        yield f"a smaller model such as {smaller}"


def fits_of_family(model: Model, card: Card, wish: Wish, length: int) -> str | None:
    """The largest of the known Qwen2.5 models that is smaller than `model` and fits."""
    from bedside.planner.shapes import model_of

    for size in ("72B", "32B", "14B", "7B", "3B", "1.5B", "0.5B"):
        other = model_of(f"Qwen/Qwen2.5-{size}")
        fewer = other.parameters < 0.95 * model.parameters
        if fewer and memory.peak(other, least(other, card, wish, length)) <= limit_of(card):
            return other.name
    return None
