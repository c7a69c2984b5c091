"""Words of a field in raw text: Chinese ones by how firmly their characters hold together, Latin ones by count."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]+")
_LATIN = re.compile(r"(?<![^\W_])[A-Za-z\u00c0-\u024f]{3,30}(?![^\W_])")
FIRM = 4.0  # bits: how much more often the parts of a word meet than by chance, at its weakest joint
FREE = 1.0  # bits: how surprising the character next to a word is, on its more predictable side
# Characters that glue sentences: a string that begins or ends with one is rarely a word of a field.
_GLUE = set("的了是在和与及或有不也就都而被把从到对为以等这那其可会要请您你我他她它们个吗呢吧啊后前时中上下内")


def count_strings(runs: list[str], wanted: set[str]) -> Counter:
    """How often each wanted string occurs in the runs, overlaps included."""
    lengths = sorted({len(text) for text in wanted})
    found: Counter = Counter()
    for run in runs:
        for length in lengths:
            for at in range(len(run) - length + 1):
                if (text := run[at : at + length]) in wanted:
                    found[text] += 1
    return found


def _frequent(runs: list[str], longest: int, least: int) -> dict[str, int]:
    """Strings of 1..longest characters seen at least `least` times; a string is counted only if both of its shorter
    ends are frequent, so memory follows what is frequent and not what occurs."""
    counts: dict[str, int] = {}
    level: Counter = Counter(character for run in runs for character in run)
    for length in range(2, longest + 2):
        frequent = {text: count for text, count in level.items() if count >= least}
        if not frequent:
            break
        counts |= frequent
        if length > longest:
            break
        level = Counter()
        for run in runs:
            for at in range(len(run) - length + 1):
                text = run[at : at + length]
                if text[:-1] in frequent and text[1:] in frequent:
                    level[text] += 1
    return counts


def _firmness(text: str, counts: dict[str, int], total: int) -> float:
    """Pointwise mutual information (bits) at the weakest of the places where the text can be split."""
    return min(math.log2(counts[text] * total / (counts[text[:at]] * counts[text[at:]])) for at in range(1, len(text)))


def _entropy(neighbours: Counter) -> float:
    total = neighbours.total()
    return -sum(count / total * math.log2(count / total) for count in neighbours.values())


def _freedom(runs: list[str], candidates: set[str]) -> dict[str, float]:
    """The smaller entropy (bits) of what stands before and behind each candidate; the end of a run counts as one."""
    before, behind = defaultdict(Counter), defaultdict(Counter)
    for run in runs:
        for length in {len(text) for text in candidates}:
            for at in range(len(run) - length + 1):
                text = run[at : at + length]
                if text in candidates:
                    before[text][run[at - 1] if at else ""] += 1
                    behind[text][run[at + length : at + length + 1]] += 1
    return {text: min(_entropy(before[text]), _entropy(behind[text])) for text in candidates}


def chinese_words(texts: Iterable[str], least: int, longest: int) -> dict[str, int]:
    """Strings of 2..longest Chinese characters that behave as words, with their counts, most frequent first."""
    runs = [run for text in texts for run in _CHINESE.findall(text)]
    counts = _frequent(runs, longest, least)
    total = sum(map(len, runs))
    firm = {
        text
        for text in counts
        if len(text) > 1 and text[0] not in _GLUE and text[-1] not in _GLUE and _firmness(text, counts, total) >= FIRM
    }
    free = _freedom(runs, firm)
    return dict(sorted(((text, counts[text]) for text in firm if free[text] >= FREE), key=lambda i: (-i[1], i[0])))


def latin_words(texts: Iterable[str], least: int) -> dict[str, int]:
    """Words in Latin letters seen at least `least` times as they are written, most frequent first."""
    counts = Counter(word for text in texts for word in _LATIN.findall(text))
    return {word: count for word, count in sorted(counts.items(), key=lambda i: (-i[1], i[0])) if count >= least}
