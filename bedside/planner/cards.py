"""Cards: memory, bandwidth and the rate of 16-bit products, from their vendors' data sheets."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from bedside.errors import ConfigError

GIB = 1 << 30
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


_AMPERE = "NVIDIA Ampere GA102 whitepaper and product page"
_ADA = "NVIDIA Ada whitepaper and product page"
_PCIE3, _PCIE4, _PCIE5 = 12.0, 24.0, 48.0  # GB/s each way that x16 slots reach
# The rate of GeForce cards is that with float32 sums, which is what training uses.
CARDS = {card.name: card for card in (
    Card("RTX 2080 Ti", 11, 616, 53.8, False, _PCIE3, source="NVIDIA Turing whitepaper"),
    Card("RTX 3060", 12, 360, 25.5, True, _PCIE4, source=_AMPERE),
    Card("RTX 3090", 24, 936, 71.0, True, _PCIE4, source=_AMPERE),
    Card("RTX 4060", 8, 272, 30.2, True, _PCIE4 / 2, source=_ADA),
    Card("RTX 4060 Ti 16GB", 16, 288, 44.1, True, _PCIE4 / 2, source=_ADA),
    Card("RTX 4070", 12, 504, 58.3, True, _PCIE4, source=_ADA),
    Card("RTX 4070 Ti", 12, 504, 80.2, True, _PCIE4, source=_ADA),
    Card("RTX 4080", 16, 717, 97.5, True, _PCIE4, source=_ADA),
    Card("RTX 4090", 24, 1008, 165.2, True, _PCIE4, source=_ADA),
    Card("RTX 5090", 32, 1792, 209.5, True, _PCIE5, source="NVIDIA RTX Blackwell whitepaper"),
    Card("T4", 16, 320, 65.0, False, _PCIE3, _ECC, "NVIDIA T4 data sheet"),
    Card("V100 16GB", 16, 900, 125.0, False, 150, source="NVIDIA V100 data sheet (SXM2)"),
    Card("V100 32GB", 32, 900, 125.0, False, 150, source="NVIDIA V100 data sheet (SXM2)"),
    Card("A10", 24, 600, 125.0, True, _PCIE4, _ECC, "NVIDIA A10 data sheet"),
    Card("A6000", 48, 768, 154.8, True, _PCIE4, source="NVIDIA RTX A6000 data sheet"),
    Card("L4", 24, 300, 121.0, True, _PCIE4 / 2, _ECC, "NVIDIA L4 data sheet"),
    Card("L40S", 48, 864, 362.0, True, _PCIE4, _ECC, "NVIDIA L40S data sheet"),
    Card("A100 40GB", 40, 1555, 312.0, True, 300, source="NVIDIA A100 data sheet (SXM4)"),
    Card("A100 80GB", 80, 2039, 312.0, True, 300, source="NVIDIA A100 data sheet (SXM4)"),
    Card("H100", 80, 3350, 989.0, True, 450, source="NVIDIA H100 data sheet (SXM5)"),
    Card("H200", 141, 4800, 989.0, True, 450, 0.985, "NVIDIA H200 data sheet (SXM); 139 GiB are seen"),
)}  # fmt: skip
ALIASES = {"a100": "A100 80GB", "v100": "V100 32GB", "a800": "A100 80GB", "rtx a6000": "A6000",
           "rtx 4060 ti": "RTX 4060 Ti 16GB"}  # fmt: skip
# Known to people and not planned for, with the reason.
REFUSED = {
    "910b": "Ascend 910B: bedside's kernels and bitsandbytes' 4-bit weights are for NVIDIA cards, and it was never "
    "run there",
    "mi300x": "MI300X: it was never run on AMD cards, and no figure of theirs is known here",
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gb|gib|g)?", re.IGNORECASE)


def _plain(text: str) -> str:
    words = re.sub(r"[-_]+", " ", text.lower())
    words = re.sub(r"\b(nvidia|geforce|tesla|ascend|amd|huawei|instinct|pcie|sxm\d?)\b", " ", words)
    return re.sub(r"\s+", " ", re.sub(r"(\d+)\s*gb?\b", r"\1gb", words)).strip()


def card(text: str) -> Card:
    """The card that `text` names ("RTX 4090", "a100-40gb"), or one of that memory ("11GB") of which nothing else is
    known. ConfigError with the nearest names."""
    plain = _plain(text)
    if plain in REFUSED:
        raise ConfigError(f"--gpu {text}: {REFUSED[plain]}; give an NVIDIA card, or a memory alone, such as 64GB")
    names = {_plain(name): name for name in CARDS} | ALIASES
    names |= {name.removeprefix("rtx "): full for name, full in names.items()}
    names |= {f"{name} {CARDS[full].memory:g}gb": full for name, full in list(names.items()) if "gb" not in name}
    names |= {name.replace(" ", ""): full for name, full in names.items()}
    if plain in names:
        return CARDS[names[plain]]
    if size := _SIZE.fullmatch(text.strip()):
        if not 2 <= float(size[1]) <= 1024:
            raise ConfigError(f"--gpu {text}: expected the memory of a card in GB, such as 11GB, or a card's name")
        return Card(f"a card of {float(size[1]):g} GB", float(size[1]))
    near = list(dict.fromkeys(names[name] for name in difflib.get_close_matches(plain, names, n=5, cutoff=0.5)))
    hint = f"Did you mean {' or '.join(near[:2])}? " if near else ""
    raise ConfigError(f"--gpu {text}: unknown card. {hint}Known: {', '.join(CARDS)}; or a memory alone, such as 11GB")


def smallest(needed: float, context: float, share: float) -> Card | None:
    """The card with the least memory that holds `needed` bytes beside its context; None where none does."""
    holding = [one for one in CARDS.values() if needed <= share * (one.bytes - context)]
    return min(holding, key=lambda one: (one.memory, one.name), default=None)
