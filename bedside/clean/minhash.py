"""MinHash signatures of many texts at once, and an index of them that finds the near ones among millions.

A text is a set of shingles (runs of tokens, see `folding`). Two texts agree in a place of their signatures with the
probability of their Jaccard similarity. Plain numpy: a chunk of texts is one array, so that the cost is that of the
arithmetic; datasketch, which does it text by text, needs scipy and several times as long.
"""

import re

import numpy as np

from bedside.clean import folding

PLACES = 120  # values of a signature
BANDS, ROWS = 20, 6  # 20 x 6: at similarity 0.8 a pair meets with probability 0.998, at 0.4 with 0.08
SHINGLE = 3  # tokens
CHUNK = 2048  # texts hashed and looked up at once

_GENERATOR = np.random.Generator(np.random.PCG64(20))
_FACTORS = _GENERATOR.integers(1, 2**32, PLACES, dtype=np.uint32) | np.uint32(1)
_TERMS = _GENERATOR.integers(0, 2**32, PLACES, dtype=np.uint32)
_POWERS = _GENERATOR.integers(1, 2**63, 256, dtype=np.uint64) | np.uint64(1)
_BAND_FACTORS = _GENERATOR.integers(1, 2**63, ROWS, dtype=np.uint64) | np.uint64(1)
_WORD = re.compile(r"[^\W_]+")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Every 64-bit value as a well-mixed one (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def token_hashes(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """64-bit hashes of all tokens of folded texts, one after the other, and how many each text has.

    The same tokens as `folding.tokens`, whose texts are folded already.
    """
    joined = "\n".join(texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    word = np.zeros(len(codes) + 1, bool)
    for found in _WORD.finditer(joined):
        word[found.start() : found.end()] = True
    word = word[:-1]
    han = word & _is_han(codes)
    before = np.concatenate(([False], (word & ~han)[:-1]))
    starts = np.flatnonzero(word & (han | ~before))
    if not len(starts):
        return np.zeros(0, np.uint64), np.zeros(len(texts), np.int64)
    # Letters of a word are weighted by their place in it; beyond 256 letters the weights begin anew.
    begins = np.zeros(len(codes), np.int64)
    begins[starts] = 1
    token_of = np.cumsum(begins) - 1
    place = np.arange(len(codes)) - starts[np.maximum(token_of, 0)]
    weighted = np.where(word, _mixed(codes.astype(np.uint64) + np.uint64(1)) * _POWERS[place % 256], np.uint64(0))
    hashes = _mixed(np.add.reduceat(weighted, starts))
    ends = np.cumsum([len(text) + 1 for text in texts])
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    return hashes, counts


def _is_han(codes: np.ndarray) -> np.ndarray:
    return (
        ((codes >= 0x3400) & (codes < 0xA000))
        | ((codes >= 0xF900) & (codes < 0xFB00))
        | ((codes >= 0x20000) & (codes < 0x30000))
    )


def shingles(hashes: np.ndarray, counts: np.ndarray, size: int = SHINGLE) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `size` tokens inside each text, and how many each text has.

    A text of fewer tokens has one shingle, the whole of it; one without tokens has none.
    """
    if not len(hashes):
        return hashes, np.zeros_like(counts)
    text_of = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    place = np.arange(len(hashes)) - first[text_of]
    left = counts[text_of] - place
    # Where fewer than `size` tokens are left only the first of a short text begins a shingle.
    begins = (left >= size) | (place == 0)
    total = np.zeros(len(hashes), np.uint64)
    for step in range(size):
        shifted = np.zeros_like(hashes)
        shifted[: len(hashes) - step] = hashes[step:]
        total += np.where(left > step, shifted, np.uint64(0)) * _POWERS[step]
    return _mixed(total)[begins], np.bincount(text_of[begins], minlength=len(counts))


def signatures(texts: list[str]) -> np.ndarray:
    """One row of PLACES 16-bit values a text. A text without tokens has zeros, which `Index` never finds near."""
    values, counts = shingles(*token_hashes([folding.fold(text) for text in texts]))
    made = np.zeros((len(texts), PLACES), np.uint16)
    full = np.flatnonzero(counts)
    if not len(full):
        return made
    small = (values >> np.uint64(32)).astype(np.uint32)
    starts = (np.cumsum(counts) - counts)[full]
    for place in range(PLACES):
        # The smallest value decides; kept are its low bits, which the smallest of another set shares 1 time in 65,536.
        least = np.minimum.reduceat(small * _FACTORS[place] + _TERMS[place], starts)
        made[full, place] = (least & np.uint32(0xFFFF)).astype(np.uint16)
    return made


class Index:
    """Signatures of the texts kept so far: 240 bytes a text and 4 for each of its bands, in arrays that double."""

    def __init__(self) -> None:
        self.count = 0
        self._signatures = np.zeros((4096, PLACES), np.uint16)
        self._next = np.full((4096, BANDS), -1, np.int32)
        self._heads = np.full((BANDS, 8192), -1, np.int32)

    def near(self, signature: np.ndarray, threshold: float) -> np.ndarray:
        """For each row of `signature` the earliest kept text that is at least `threshold` like it, or -1."""
        slots = self._slots(signature)
        best = np.full(len(signature), np.iinfo(np.int32).max, np.int64)
        rows, bands = np.divmod(np.arange(signature.shape[0] * BANDS), BANDS)
        candidates = self._heads[bands, slots.ravel()]
        while True:
            alive = candidates >= 0
            rows, bands, candidates = rows[alive], bands[alive], candidates[alive]
            if not len(rows):
                break
            closer = np.flatnonzero(candidates < best[rows])
            closer = closer[_agreement(self._signatures[candidates[closer]], signature[rows[closer]]) >= threshold]
            np.minimum.at(best, rows[closer], candidates[closer])
            candidates = self._next[candidates, bands]
        return np.where(best == np.iinfo(np.int32).max, -1, best)

    def add(self, signature: np.ndarray) -> None:
        """Keep the texts of these signatures; they are numbered in the order of coming."""
        first, self.count = self.count, self.count + len(signature)
        if first == self.count:
            return
        self._grow()
        self._signatures[first : self.count] = signature
        self._link(first, self.count)

    def _grow(self) -> None:
        if self.count <= len(self._signatures):
            return
        size = max(2 * len(self._signatures), self.count)
        grown = np.zeros((size, PLACES), np.uint16)
        grown[: len(self._signatures)] = self._signatures
        known, self._signatures = len(self._signatures), grown
        self._next = np.full((size, BANDS), -1, np.int32)
        self._heads = np.full((BANDS, 1 << (2 * size - 1).bit_length()), -1, np.int32)
        for start in range(0, known, CHUNK):
            self._link(start, min(start + CHUNK, known))

    def _link(self, first: int, last: int) -> None:
        """Put texts first .. last-1 into the chains of their bands; within a chain the newest comes first."""
        slots = self._slots(self._signatures[first:last])
        numbers = np.arange(first, last, dtype=np.int32)
        for band in range(BANDS):
            order = np.argsort(slots[:, band], kind="stable")
            sorted_slots, members = slots[order, band], numbers[order]
            same = np.concatenate(([False], sorted_slots[1:] == sorted_slots[:-1]))
            # The first of a group goes before what was there, each later one before the one in front of it.
            self._next[members[~same], band] = self._heads[band, sorted_slots[~same]]
            self._next[members[same], band] = members[np.flatnonzero(same) - 1]
            lasts = np.concatenate((~same[1:], [True]))
            self._heads[band, sorted_slots[lasts]] = members[lasts]

    def _slots(self, signature: np.ndarray) -> np.ndarray:
        parts = signature.reshape(-1, BANDS, ROWS).astype(np.uint64)
        mixed = _mixed((parts * _BAND_FACTORS).sum(axis=2, dtype=np.uint64))
        return (mixed & np.uint64(self._heads.shape[1] - 1)).astype(np.int64)


def _agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one == other).mean(axis=1) if len(one) else np.zeros(0)
