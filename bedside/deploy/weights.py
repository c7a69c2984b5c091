"""How many bytes a model's weights take, read off the headers of its safetensors."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from bedside import lineage
from bedside.errors import ConfigError

ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}
_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_NF4 = 0.5 + 4 / 64  # bytes a weight in bitsandbytes' 4 bits: half a byte, and a float32 scale for every 64


@dataclass(frozen=True)
class Weights:
    """Numbers of weights: in linear layers, which bitsandbytes makes 4-bit, and the rest; the files' precision and
    bytes. `packed`: the files hold quantised weights already."""

    linear: int
    rest: int
    dtype: str = "bfloat16"
    bytes: int = 0
    packed: bool = False

    def held(self, dtype: str, four_bit: bool = False) -> int:
        """Bytes in memory when they are served in `dtype` (bfloat16, float16, float32)."""
        if self.packed:
            return self.bytes
        item = ITEM.get(dtype, 2)
        return int(self.linear * (_NF4 if four_bit else item)) + self.rest * item


def header(path: Path) -> dict[str, dict]:
    """`{tensor: {"dtype", "shape"}}` of a safetensors file; ConfigError if it is none."""
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            found = json.loads(stream.read(length)) if 0 < length < 1 << 28 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: not a safetensors file (half-copied, or a Git LFS pointer?); copy it again")
    return {name: entry for name, entry in found.items() if name != "__metadata__"}


def weights_of(directory: Path) -> Weights:
    """The weights in a full model's directory; ConfigError where there are none."""
    files = lineage.weight_files(directory)
    if not files:
        raise ConfigError(f"{directory}: no model*.safetensors there; the copy is incomplete, or of an older format")
    linear = rest = 0
    kinds: Counter[str] = Counter()
    for path in files:
        for name, entry in header(path).items():
            count = prod(entry["shape"])
            kinds[entry["dtype"]] += count
            if len(entry["shape"]) >= 2 and not any(part in name for part in ("embed", "lm_head", "wte", "wpe")):
                linear += count
            else:
                rest += count
    kind = kinds.most_common(1)[0][0] if kinds else ""
    size = sum(path.stat().st_size for path in files)
    return Weights(linear, rest, _TYPES.get(kind, "bfloat16"), size, packed=kind not in _TYPES)
