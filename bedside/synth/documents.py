"""Pretraining documents: one paragraph on one line, about one condition (or two), never a chat."""

import random
from collections.abc import Iterator

from bedside.synth.facts import LANGUAGES, localise
from bedside.synth.fields import PHRASES, Fields

# kind: (share in per cent, what may follow, most sentences that follow). The first six run from the findings to the
# name, 55 % together, half of them in the patient's words: that is the knowledge the fine-tuning stages draw on.
KINDS = {
    "clinic": (16, ("alarm",), 1),
    "case": (11, ("care", "place", "alarm"), 1),
    "story": (16, ("care", "place", "confusion"), 1),
    "glossary": (8, ("place",), 1),
    "round": (4, ("alarm",), 1),
    "differential": (6, ("place", "care"), 1),
    "entry": (7, ("care", "alarm", "medicine", "confusion", "place"), 2),
    "triage": (5, ("care",), 1),
    "drug": (6, ("place",), 1),
    "leaflet": (7, ("alarm", "medicine"), 1),
    "handbook": (4, ("alarm", "medicine"), 1),
    "full": (5, (), 0),
}
PAIR_SHARE = 5
_WHEEL = [kind for kind, (share, _, _) in KINDS.items() for _ in range(share)] + [None] * PAIR_SHARE
_SIZES = (2, 3, 3, 4, 5)
_INDICES = (0, 1, 2, 3, 4)
_PAIR_KEYS = ("name", "Name", "terms", "says", "department", "drug")


def document(view: dict, rng: random.Random, kind: str, held_out: bool = False) -> str:
    """One document of a kind about a condition (as `localise` gives it); a held-out one uses the last frame, which
    training never does."""
    fields = Fields(view, rng, rng.sample(_INDICES, _SIZES[int(rng.random() * len(_SIZES))]))
    frames = fields.phrases.DOCUMENTS[kind]
    text = fields.fill(frames[-1] if held_out else frames[int(rng.random() * (len(frames) - 1))])
    _, tails, most = KINDS[kind]
    extra = int(rng.random() * (most + 1))
    if not extra:
        return text
    gap = "" if view["lang"] == "zh" else " "
    sentences = [fields.fill(fields.choose(fields.phrases.TAILS[tail])) for tail in rng.sample(tails, extra)]
    return text + gap + gap.join(sentences)


def _pair(first: dict, second: dict, rng: random.Random, held_out: bool = False) -> str:
    """One document about two conditions."""
    merged = {}
    for prefix, view in (("a_", first), ("b_", second)):
        fields = Fields(view, rng, rng.sample(_INDICES, 2 + int(rng.random() * 2)))
        merged.update((prefix + key, fields[key]) for key in _PAIR_KEYS)
    frames = PHRASES[first["lang"]].PAIRS
    return (frames[-1] if held_out else frames[int(rng.random() * (len(frames) - 1))]).format_map(merged)


def documents(rows: list[dict], n: int, seed: int | str, language: str | None = None) -> Iterator[str]:
    """n training documents, Chinese and English in turn (or one language); the same seed gives the same documents."""
    yield from _stream(rows, n, f"documents-{seed}", language, held_out=False)


def heldout_documents(rows: list[dict], n: int, seed: int | str, language: str | None = None) -> Iterator[str]:
    """n documents in frames that `documents` never uses; they measure what was learnt about the facts."""
    yield from _stream(rows, n, f"heldout-documents-{seed}", language, held_out=True)


CONCLUDING = ("case", "story", "glossary")  # kinds whose every frame ends in the name


def heldout_conclusions(rows: list[dict], n: int, seed: int | str) -> Iterator[tuple[str, str]]:
    """n held-out documents that end in the condition's name, with that name."""
    rng = random.Random(f"conclusions-{seed}")
    for number in range(n):
        view = localise(rows[int(rng.random() * len(rows))], LANGUAGES[number % len(LANGUAGES)])
        kind = CONCLUDING[int(rng.random() * len(CONCLUDING))]
        fields = Fields(view, rng, rng.sample(_INDICES, 3))
        body = fields.phrases.DOCUMENTS[kind][-1].removesuffix("{points}")
        yield fields.fill(body) + fields.fill(fields.phrases.POINTS[0]), view["name"]


def _stream(rows: list[dict], n: int, seed: str, language: str | None, held_out: bool) -> Iterator[str]:
    rng = random.Random(seed)
    languages = (language,) if language else LANGUAGES
    views = {name: [localise(row, name) for row in rows] for name in languages}
    for number in range(n):
        choices = views[languages[number % len(languages)]]
        view = choices[int(rng.random() * len(choices))]
        kind = _WHEEL[int(rng.random() * len(_WHEEL))]
        if kind is None:
            yield _pair(view, choices[int(rng.random() * len(choices))], rng, held_out)
        else:
            yield document(view, rng, kind, held_out)
