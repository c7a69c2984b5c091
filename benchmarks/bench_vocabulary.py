"""Two ways to teach a tokenizer words, compared on our own documents: merges of its BPE, and added tokens.

    python benchmarks/bench_vocabulary.py

Counts tokens, new rows, how often a new token begins or ends inside a token of the old tokenizer (which it tears), and
what the model's loss becomes before any training, in nats per character of data/eval/documents.txt.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside import errors, logs, models
from bedside.vocabulary import extend, rows, texts, words
from bedside.vocabulary.codec import Codec

LIST, TEXTS, HELD_OUT, MODEL = (
    "data/vocab/medical_vocab.txt",
    "data/pretrain",
    "data/eval/documents.txt",
    "models/starter",
)


def torn(before, extended: extend.Extended, lines: list[str]) -> tuple[int, int]:
    """`(uses of new words, uses whose ends are not ends of old tokens)`."""
    new, uses, cut = set(extended.learnt.words.values()), 0, 0
    for line in lines:
        old = before.encode(line, add_special_tokens=False)
        edges = {0, len(line)} | {start for start, _ in old.offsets}
        now = extended.after.backend.encode(line, add_special_tokens=False)
        for number, (start, end) in zip(now.ids, now.offsets, strict=True):
            uses += number in new
            cut += number in new and not {start, end} <= edges
    return uses, cut


def nats(model, backend, lines: list[str]) -> float:
    """Loss per character of the lines."""
    total = 0.0
    for line in lines:
        ids = backend.encode(line, add_special_tokens=False).ids
        scores = rows.logits_of(model, [ids])[0][:-1].log_softmax(-1)
        total -= sum(scores[at, number].item() for at, number in enumerate(ids[1:]))
    return total / sum(map(len, lines))


def main(argv: list[str] | None = None) -> None:
    """Print one line a method and number of rows."""
    logs.setup()
    tokenizer = models.load_tokenizer(MODEL)
    backend = tokenizer.backend_tokenizer
    lines = [text for batch in texts.read([TEXTS]).values() for text in batch]
    held_out = texts.read([HELD_OUT])[HELD_OUT][::4]
    before = nats(models.load_base(MODEL, "float32"), backend, held_out)
    out = sys.stdout.write
    out(f"before: {sum(len(e.ids) for e in backend.encode_batch(lines))} tokens, {before:.3f} nats a character\n")
    for method in ("merges", "added"):
        for room in (400, None):
            found, account = words.from_list(words.lines_of(LIST), set(tokenizer.get_added_vocab()), 8)
            extend.count(found, lines)
            codec = Codec(backend, method == "merges")
            extended = extend.learn(extend.choose(found, codec, account, 2, room), codec, account)
            tokens = sum(len(e.ids) for e in extended.after.backend.encode_batch(lines, add_special_tokens=False))
            uses, cut = torn(backend, extended, lines)
            model = models.load_base(MODEL, "float32")
            rows.extend(model, extended.pieces)
            after = nats(model, extended.after.backend, held_out)
            out(
                f"{method}, {len(extended.words)} words in {len(extended.pieces)} rows: {tokens} tokens, "
                f"{cut} of {uses} uses tear an old token, {after:.3f} nats a character untrained\n"
            )


if __name__ == "__main__":
    errors.run_command(main)
