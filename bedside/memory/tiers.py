"""Which precision a memory holds: what each would take, and the best that fits. Pure functions over sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bedside.memory.sizes import Sizes, cache_of

GIB = 1 << 30
# What a process takes before any weight is loaded: CUDA's context and its libraries' workspaces (0.5 to 0.8 GiB on
# cards seen), or on a CPU the Python process with torch.
FIXED = {"GPU": 768 << 20, "host": 640 << 20}
_HIDDEN, _INNER = 8, 4  # of a token's vectors of these widths, so many live at once while a prompt is read
_LOGITS = 4  # float32 rows as long as the vocabulary: logits, and their copies while a token is drawn


@dataclass(frozen=True)
class Asked:
    """What is to fit: `budget` bytes of "GPU" or "host" memory, `batch` conversations of `context` tokens each (with
    their answers), `adapter` bytes on top, `host` bytes for layers moved there (0: none may). `width`: bytes a number
    of a model that is not quantised, `beside` of what stays unquantised in one that is."""

    budget: int
    place: str
    context: int
    batch: int
    adapter: int = 0
    host: int = 0
    width: int = 2
    beside: int = 2

    def number(self, bits: int) -> int:
        """Bytes of a number that is not packed, in a model of so many bits a weight."""
        return self.width if bits == 16 else self.beside


@dataclass(frozen=True)
class Need:
    """What one precision takes, in bytes of the memory that is bounded; `moved` layers wait in host memory, where
    they take `host` bytes."""

    name: str
    bits: int
    weights: int
    adapter: int
    cache: int
    work: int
    moved: int = 0
    host: int = 0

    @property
    def total(self) -> int:
        """The sum, the layers in host memory apart."""
        return self.weights + self.adapter + self.cache + self.work


def work_of(sizes: Sizes, config: dict, asked: Asked, bits: int, moved: bool) -> int:
    """Bytes that computing takes beside weights and cache: the process, a prompt's activations, the logits, one matrix
    in full precision where weights are packed, one whole layer where layers come from host memory."""
    hidden, inner = config["hidden_size"], config.get("intermediate_size") or 4 * config["hidden_size"]
    tokens, width = asked.batch * asked.context, asked.number(bits)
    activations = tokens * (_HIDDEN * hidden + _INNER * inner) * width
    logits = asked.batch * config.get("vocab_size", 0) * 4 * _LOGITS
    unpacked = 0 if bits == 16 else sizes.largest * width
    layer = max((sizes.parts[name].size(16, width) for name in sizes.layers), default=0) if moved else 0
    return FIXED[asked.place] + activations + logits + unpacked + layer


def need_of(sizes: Sizes, config: dict, asked: Asked, bits: int, moved: int = 0) -> Need:
    """What `bits` a weight take with the last `moved` layers in host memory, where they stay unquantised."""
    away = [sizes.parts[name] for name in sizes.layers[len(sizes.layers) - moved :]]
    width = asked.number(bits)
    weights = sizes.size(bits, width) - sum(part.size(bits, width) for part in away)
    host = sum(part.size(16, width) for part in away)
    name = {4: "4-bit NF4", 8: "8-bit"}.get(bits, f"{8 * asked.width}-bit")
    if moved:
        name += f", {moved} of {len(sizes.layers)} layers in host memory"
    cache = cache_of(config, asked.context, asked.batch, width)
    work = work_of(sizes, config, asked, bits, moved > 0)
    return Need(name, bits, weights, asked.adapter, cache, work, moved, host)


def spread(sizes: Sizes, config: dict, asked: Asked, bits: int) -> Need:
    """The fewest layers in host memory with which `bits` fit; all of them where none suffice."""
    tried = (need_of(sizes, config, asked, bits, moved) for moved in range(1, len(sizes.layers)))
    everything = need_of(sizes, config, asked, bits, len(sizes.layers))
    return next((need for need in tried if need.total <= asked.budget), everything)


def considered(sizes: Sizes, config: dict, asked: Asked, allowed: tuple[int, ...]) -> list[Need]:
    """What was looked at, best first, up to the first that fits: each precision of `allowed`, then the smallest with
    layers in host memory, where that is there."""
    found = []
    for bits in allowed:
        found.append(need_of(sizes, config, asked, bits))
        if found[-1].total <= asked.budget:
            return found
    if asked.host and sizes.layers:
        found.append(spread(sizes, config, asked, allowed[-1]))
    return found


def fits(need: Need, asked: Asked) -> bool:
    """Whether both memories hold it."""
    return need.total <= asked.budget and need.host <= asked.host * (need.moved > 0)


def device_map(sizes: Sizes, moved: int) -> dict[str, int | str] | None:
    """Where each part goes, as accelerate takes it: the last `moved` layers to the CPU; None if all stay."""
    if not moved:
        return None
    away = set(sizes.layers[len(sizes.layers) - moved :])
    return {name: "cpu" if name in away else 0 for name in sizes.parts}


def longest_that_fits(sizes: Sizes, config: dict, asked: Asked, bits: int) -> int:
    """The most tokens a conversation may have for `bits` to fit in one conversation at a time, 0 if none."""
    one = [need_of(sizes, config, replace(asked, context=context, batch=1), bits).total for context in (1, 2)]
    if one[0] > asked.budget:
        return 0
    step = max(1, one[1] - one[0])
    found = 1 + (asked.budget - one[0]) // step
    return min(found, config.get("max_position_embeddings") or found)


def table(needs: list[Need], asked: Asked, model: str, numbers: int) -> str:
    """What was considered as one block, in GB of 2^30 bytes as cards are sold; the last line is taken if it fits."""
    tokens = f"{asked.batch} conversation{'s' if asked.batch > 1 else ''} of {asked.context:,} tokens"
    head = (
        f"memory: {asked.budget / GIB:.3g} GB of {asked.place} memory, {tokens}, {model} ({_count(numbers)} weights)"
    )
    names = [need.name for need in needs]
    wide = max(map(len, names))
    lines = [head, f"  {'':{wide}}  weights  adapter    cache  workspace      sum"]
    for need in needs:
        verdict = "fits" if fits(need, asked) else "too much"
        if need.host > asked.host and need.total <= asked.budget:
            verdict = f"the host lacks {(need.host - asked.host) / GIB:.1f} GB"
        sizes = f"{need.weights / GIB:9.2f}{need.adapter / GIB:9.2f}{need.cache / GIB:9.2f}{need.work / GIB:11.2f}"
        lines.append(f"  {need.name:{wide}}{sizes}{need.total / GIB:9.2f}  {verdict}")
    return "\n".join(lines)


def _count(numbers: int) -> str:
    if numbers >= 1e9:
        return f"{numbers / 1e9:.2f} billion"
    return f"{numbers / 1e6:.1f} million"
