"""Cards: memory, bandwidth and the rate of 16-bit products, from their vendors' data sheets."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from bedside.errors import ConfigError

GIB = 1 << 30
_AS_SOLD = 0.08  # of a card's memory may be missing or more before it is another one
_ECC = 0.9375  # of a card without memory of its own for check bits (GDDR6), where they are kept by default


@dataclass(frozen=True)
class Card:
    """`memory` in GiB as it is sold; `bandwidth` in GB/s; `tflops` of dense 16-bit products summed in float32 (half
    of what is printed for sparse ones); `link` in GB/s is what one card sends to another. 0: not known."""

    name: str
    memory: float
    bandwidth: float = 0.0
    tflops: float = 0.0
    bf16: bool = True
    link: float = 0.0
    usable: float = 1.0
    source: str = ""

    @property
    def bytes(self) -> float:
        """Memory that programs see, the CUDA context included."""
        return self.memory * GIB * self.usable


_TURING, _AMPERE = "NVIDIA Turing whitepaper", "NVIDIA Ampere GA102 whitepaper and product page"
_ADA, _BLACKWELL = "NVIDIA Ada whitepaper and product page", "NVIDIA RTX Blackwell whitepaper and product page"
_OLD = "; torch has code for it in its wheels for CUDA 12.6 only"  # torch 2.11 dropped it from those for 12.8 and 13
_PCIE3, _PCIE4, _PCIE5 = 12.0, 24.0, 48.0  # GB/s each way that x16 slots reach
# The rate of GeForce cards is that with float32 sums, which is what training uses.
CARDS = {card.name: card for card in (
    Card("RTX 2060", 6, 336, 25.8, False, _PCIE3, source=_TURING),
    Card("RTX 2070", 8, 448, 29.9, False, _PCIE3, source=_TURING),
    Card("RTX 2080", 8, 448, 40.3, False, _PCIE3, source=_TURING),
    Card("RTX 2080 Ti", 11, 616, 53.8, False, _PCIE3, source=_TURING),
    Card("Titan RTX", 24, 672, 130.5, False, _PCIE3, source=_TURING),
    Card("RTX 8000", 48, 672, 130.5, False, _PCIE3, source="NVIDIA Quadro RTX 8000 data sheet"),
    Card("RTX 3060", 12, 360, 25.5, True, _PCIE4, source=_AMPERE),
    Card("RTX 3060 Ti", 8, 448, 32.4, True, _PCIE4, source=_AMPERE),
    Card("RTX 3070", 8, 448, 40.6, True, _PCIE4, source=_AMPERE),
    Card("RTX 3070 Ti", 8, 608, 43.5, True, _PCIE4, source=_AMPERE),
    Card("RTX 3080", 10, 760, 59.5, True, _PCIE4, source=_AMPERE),
    Card("RTX 3080 12GB", 12, 912, 61.3, True, _PCIE4, source=_AMPERE),
    Card("RTX 3080 Ti", 12, 912, 68.2, True, _PCIE4, source=_AMPERE),
    Card("RTX 3090", 24, 936, 71.0, True, _PCIE4, source=_AMPERE),
    Card("RTX 3090 Ti", 24, 1008, 80.0, True, _PCIE4, source=_AMPERE),
    Card("RTX 4060", 8, 272, 30.2, True, _PCIE4 / 2, source=_ADA),
    Card("RTX 4060 Ti 8GB", 8, 288, 44.1, True, _PCIE4 / 2, source=_ADA),
    Card("RTX 4060 Ti 16GB", 16, 288, 44.1, True, _PCIE4 / 2, source=_ADA),
    Card("RTX 4070", 12, 504, 58.3, True, _PCIE4, source=_ADA),
    Card("RTX 4070 Super", 12, 504, 71.0, True, _PCIE4, source=_ADA),
    Card("RTX 4070 Ti", 12, 504, 80.2, True, _PCIE4, source=_ADA),
    Card("RTX 4070 Ti Super", 16, 672, 88.2, True, _PCIE4, source=_ADA),
    Card("RTX 4080", 16, 717, 97.5, True, _PCIE4, source=_ADA),
    Card("RTX 4080 Super", 16, 736, 104.4, True, _PCIE4, source=_ADA),
    Card("RTX 4090", 24, 1008, 165.2, True, _PCIE4, source=_ADA),
    Card("RTX 4090 D", 24, 1008, 147.0, True, _PCIE4, source=_ADA),
    Card("RTX 5060 Ti 16GB", 16, 448, 47.4, True, _PCIE5 / 2, source=_BLACKWELL),
    Card("RTX 5070", 12, 672, 61.7, True, _PCIE5, source=_BLACKWELL),
    Card("RTX 5070 Ti", 16, 896, 87.9, True, _PCIE5, source=_BLACKWELL),
    Card("RTX 5080", 16, 960, 112.6, True, _PCIE5, source=_BLACKWELL),
    Card("RTX 5090", 32, 1792, 209.5, True, _PCIE5, source=_BLACKWELL),
    Card("T4", 16, 320, 65.0, False, _PCIE3, _ECC, "NVIDIA T4 data sheet"),
    Card("V100 16GB", 16, 900, 125.0, False, 150, source="NVIDIA V100 data sheet (SXM2)" + _OLD),
    Card("V100 32GB", 32, 900, 125.0, False, 150, source="NVIDIA V100 data sheet (SXM2)" + _OLD),
    Card("V100 PCIe 16GB", 16, 900, 112.0, False, _PCIE3, source="NVIDIA V100 data sheet (PCIe)" + _OLD),
    Card("V100 PCIe 32GB", 32, 900, 112.0, False, _PCIE3, source="NVIDIA V100 data sheet (PCIe)" + _OLD),
    Card("A10", 24, 600, 125.0, True, _PCIE4, _ECC, "NVIDIA A10 data sheet"),
    Card("A10G", 24, 600, 70.0, True, _PCIE4, _ECC, "NVIDIA A10G, as AWS G5 instances have it"),
    Card("A30", 24, 933, 165.0, True, _PCIE4, source="NVIDIA A30 data sheet"),
    Card("A40", 48, 696, 149.7, True, _PCIE4, _ECC, "NVIDIA A40 data sheet"),
    Card("A4000", 16, 448, 76.7, True, _PCIE4, source="NVIDIA RTX A4000 data sheet"),
    Card("A5000", 24, 768, 111.1, True, _PCIE4, source="NVIDIA RTX A5000 data sheet"),
    Card("A6000", 48, 768, 154.8, True, _PCIE4, source="NVIDIA RTX A6000 data sheet"),
    Card("RTX 6000 Ada", 48, 960, 364.2, True, _PCIE4, source="NVIDIA RTX 6000 Ada data sheet"),
    Card("L4", 24, 300, 121.0, True, _PCIE4, _ECC, "NVIDIA L4 data sheet"),
    Card("L20", 48, 864, 119.5, True, _PCIE4, _ECC, "NVIDIA L20 data sheet"),
    Card("L40", 48, 864, 181.0, True, _PCIE4, _ECC, "NVIDIA L40 data sheet"),
    Card("L40S", 48, 864, 362.0, True, _PCIE4, _ECC, "NVIDIA L40S data sheet"),
    Card("A100 40GB", 40, 1555, 312.0, True, 300, source="NVIDIA A100 data sheet (SXM4)"),
    Card("A100 80GB", 80, 2039, 312.0, True, 300, source="NVIDIA A100 data sheet (SXM4)"),
    Card("A100 PCIe 40GB", 40, 1555, 312.0, True, _PCIE4, source="NVIDIA A100 data sheet (PCIe)"),
    Card("A100 PCIe 80GB", 80, 1935, 312.0, True, _PCIE4, source="NVIDIA A100 data sheet (PCIe)"),
    Card("A800", 80, 2039, 312.0, True, 200, source="NVIDIA A800 data sheet (SXM4)"),
    Card("H100", 80, 3350, 989.0, True, 450, source="NVIDIA H100 data sheet (SXM5)"),
    Card("H100 PCIe", 80, 2000, 756.0, True, _PCIE5, source="NVIDIA H100 data sheet (PCIe)"),
    Card("H100 NVL", 94, 3900, 835.0, True, _PCIE5, source="NVIDIA H100 NVL data sheet"),
    Card("H800", 80, 3350, 989.0, True, 200, source="NVIDIA H800 data sheet (SXM5)"),
    Card("H20", 96, 4000, 148.0, True, 450, source="NVIDIA H20 data sheet"),
    Card("H200", 141, 4800, 989.0, True, 450, 0.985, "NVIDIA H200 data sheet (SXM); 139 GiB are seen"),
    Card("H200 NVL", 141, 4800, 835.0, True, _PCIE5, 0.985, "NVIDIA H200 data sheet (NVL); 139 GiB are seen"),
    Card("B200", 180, 7700, 2250.0, True, 900, 0.985, "NVIDIA HGX B200 data sheet"),
)}  # fmt: skip
ALIASES = {"a100": "A100 80GB", "a100 pcie": "A100 PCIe 80GB", "v100": "V100 32GB", "v100 pcie": "V100 PCIe 32GB",
           "rtx 4060 ti": "RTX 4060 Ti 16GB", "rtx 5060 ti": "RTX 5060 Ti 16GB", "rtx 3080 10gb": "RTX 3080",
           **{f"rtx {name}": name.upper() for name in ("a4000", "a5000", "a6000")}}  # fmt: skip
# Known to people and not planned for, with the reason; of a name, as `_plain` leaves it.
REFUSED = {
    r"910[a-d]?\d*|atlas.*": "bedside's kernels and bitsandbytes' 4-bit weights are for NVIDIA cards, and it was "
    "never run on Ascend",
    r"mi\d+\w*|(radeon )?rx \d.*|radeon.*|w\d{4}.*": "it was never run on AMD cards, and no figure of theirs is known "
    "here",
    r"(apple )?m[1-5]( max| pro| ultra)?|mps|apple.*|mac.*": "on a Mac training falls back to the CPU's path, without "
    "4-bit weights and kernels, and no speed of it is known here",
    r"cpu|none": "no card; the model's memory without one was measured for the small starter only (docs/planning.md)",
    r"tpu.*|gaudi.*|arc .*|mlu.*|dcu.*": "only NVIDIA cards are planned for",
    r"(gtx|gt) .*|[pkm]\d{2,3}|titan (x|xp|v)": "older than the cards that 4-bit weights, torch and the kernels "
    "here are made for",
    r".*\blaptop|.*\bmobile|.*\bmax q": "a laptop's card has less memory and a lower rate than the desktop's of "
    "that name",
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gb|gib|g)?", re.IGNORECASE)
_MIB = re.compile(r"(\d+)\s*(?:mib|mb|m)", re.IGNORECASE)  # as nvidia-smi prints it
_SEVERAL = re.compile(r"(\d{1,2})\s*[x*]\s*(?=[a-z]|\d{4})(.+)|(.*[a-z0-9])\s*[x*]\s*(\d{1,2})", re.IGNORECASE)
# What a name may say beside the card's own: its maker, and what does not change the figures here.
_BESIDE = r"\b(nvidia|geforce|tesla|quadro|ascend|amd|huawei|instinct|sxm\d?|oem|hbm\w*|gpu|generation|graphics)\b"


def _plain(text: str) -> str:
    """The name in lower case, letters and digits apart where they are written together, without what is beside it."""
    words = re.sub(r"[-_,]+", " ", text.lower())
    words = re.sub(r"\b(rtx|gtx)(?=\d)", r"\1 ", words)
    words = re.sub(r"(\d{4})(ti)?(super)?\b", r"\1 \2 \3", words)
    words = re.sub(_BESIDE, " ", re.sub(r"\b(\d+)\s*(?:gib|gb|g)\b", r"\1gb", words))
    return " ".join(sorted(words.split(), key=lambda word: word.endswith("gb")))  # the memory last


def _names() -> dict[str, str]:
    """Every spelling of a card, as `_plain` leaves it, and the card."""
    names = {_plain(name): name for name in CARDS} | ALIASES
    names |= {name.removeprefix("rtx "): full for name, full in names.items()}
    names |= {f"{name} {CARDS[full].memory:g}gb": full for name, full in list(names.items()) if "gb" not in name}
    return names | {name.replace(" ", ""): full for name, full in names.items()}


def _named(plain: str) -> Card | None:
    """The card of that name; with another memory than its maker's ("2080 ti 22gb"), the same with that."""
    names = _names()
    for name in (plain, re.sub(r" ?\bpcie\b", "", plain)):
        if name in names:
            return CARDS[names[name]]
    alone = re.sub(r" ?\b(\d+)gb\b", "", plain)
    size = re.search(r"\b(\d+)gb\b", plain)
    if alone not in names or not size or not 2 <= int(size[1]) <= 1024:
        return None
    of = CARDS[names[alone]]
    sold = re.sub(r" \d+GB$", "", of.name)
    return replace(of, name=f"{sold} with {size[1]} GB", memory=float(size[1]),
                   source=f"{of.source}; it is not sold with that memory, which is taken as given")  # fmt: skip


def card(text: str) -> Card:
    """The card that `text` names ("RTX 4090", "a100-40gb"), or one of that memory ("11GB") of which nothing else is
    known. ConfigError with the nearest names."""
    plain = _plain(text)
    for pattern, why in REFUSED.items():
        if re.fullmatch(pattern, plain):
            raise ConfigError(f"--gpu {text}: {why}; give an NVIDIA card, or a memory alone, such as 24GB")
    if found := _named(plain):
        return found
    mib, size = _MIB.fullmatch(text.strip()), _SIZE.fullmatch(text.strip())
    if mib or size:
        memory = float(mib[1]) / 1024 if mib else float(size[1])
        if not 2 <= memory <= 1024:
            raise ConfigError(f"--gpu {text}: expected the memory of a card in GB, such as 11GB, or a card's name")
        return Card(f"a card of {round(memory, 1):g} GB", memory)
    if several := _SEVERAL.fullmatch(plain):
        count, name = (several[1], several[2]) if several[1] else (several[4], several[3])
        raise ConfigError(
            f"--gpu {text}: expected one card's name; how many is another flag: --gpu '{name.strip()}' --gpus {count}"
        )
    names = _names()
    near = list(dict.fromkeys(names[name] for name in difflib.get_close_matches(plain, names, n=5, cutoff=0.5)))
    known = f"Did you mean {' or '.join(near[:2])}?" if near else f"Known: {', '.join(CARDS)}."
    raise ConfigError(f"--gpu {text}: unknown card. {known} Or give its memory alone, such as 11GB")


def smallest(needed: float, context: float, share: float) -> Card | None:
    """The card with bfloat16 and the least memory that holds `needed` bytes beside its context, or None."""
    holding = [one for one in CARDS.values() if one.bf16 and needed <= share * (one.bytes - context)]
    return min(holding, key=lambda one: (one.memory, one.name), default=None)


def seen(name: str, size: float) -> Card:
    """The card of this machine, by the name that its driver gives it, or one of `size` bytes that nobody knows (a
    laptop's, which shares the name of a faster one, too)."""
    try:
        found = card(name)
    except ConfigError:
        return Card(name, size / GIB)
    if abs(size / found.bytes - 1) < _AS_SOLD:
        return found
    return replace(found, name=f"{found.name} with {size / GIB:.0f} GB", memory=size / GIB, usable=1.0)
