"""Render every data file from conditions.jsonl (`--check` says whether they are up to date)."""

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the script runs from a plain checkout

from bedside.clean import contamination, fields
from bedside.errors import run_command
from bedside.synth import dialogues, documents, facts, preferences, questions, safety
from bedside.synth.fields import PHRASES

BEGIN, END = "<!-- counts: written by make_data.py -->", "<!-- end of counts -->"
LINK, LINK_TARGET = "finetune", "sft"
REFUSAL_EVERY = 17  # about 6 % of the conversations
DOCUMENTS, DOCUMENT_ROWS, WARD_DOCUMENTS, EVAL_DOCUMENTS, CHOICES = 400, 150, 80, 200, 160
COT, SHAREGPT, ALPACA, MESSAGES = 800, 320, 240, 280
PREFERENCES, PREFERENCE_CONVERSATIONS, VERIFIABLE, DRUGS, CLOSED = 180, 100, 180, 12, 8
HELD_OUT_PREFERENCES = 60
EVAL_PER_CONDITION = 2


def render(rows: list[dict], seed: int) -> dict[str, str]:
    """Every file by its path below data/, README aside."""
    seen, held_out = facts.split(rows, seed)
    pairs = list(_preferences(seen, PREFERENCES + HELD_OUT_PREFERENCES, f"preferences-{seed}"))
    training = {
        "pretrain/documents_zh.txt": _lines(documents.documents(rows, DOCUMENTS, f"{seed}-zh", "zh")),
        "pretrain/documents_en.txt": _lines(documents.documents(rows, DOCUMENTS, f"{seed}-en", "en")),
        "pretrain/documents.jsonl": _jsonl({"text": text} for text in documents.documents(rows, DOCUMENT_ROWS, seed)),
        "pretrain/documents_ward.txt": _lines(documents.heldout_documents(rows, WARD_DOCUMENTS, f"{seed}-ward")),
        "sft/cot.jsonl": _jsonl(_cot(seen, COT, seed)),
        "sft/sharegpt.jsonl": _jsonl(_sharegpt(seen, SHAREGPT, seed)),
        "sft/alpaca.jsonl": _jsonl(_alpaca(seen, ALPACA, seed)),
        "sft/messages.jsonl": _jsonl(_messages(seen, MESSAGES, seed)),
        "reward/preferences.jsonl": _jsonl(pairs[:PREFERENCES]),
        "reward/preferences_conversations.jsonl": _jsonl(_preference_conversations(seen, seed)),
        "grpo/verifiable.jsonl": _jsonl(_verifiable(seen, questions.OPEN_KINDS, VERIFIABLE, f"verifiable-{seed}")),
        "grpo/drug.jsonl": _jsonl(_verifiable(seen, ("drug",), DRUGS, f"drug-{seed}")),
        "grpo/closed.jsonl": _jsonl(_verifiable(seen, questions.CLOSED_KINDS, CLOSED, f"closed-{seed}")),
    }
    trained = [texts for text in training.values() for texts in _texts(text)]
    by_id = {row["id"]: row for row in rows}

    def question(item: dict, rng: random.Random) -> dict:
        turn = dialogues.consultation(by_id[item["id"]], item["lang"], rng, held_out=False)
        return item | {"messages": _exchange(turn)}

    def choice(item: dict, rng: random.Random) -> dict:
        return item | questions.multiple_choice(by_id[item["id"]], item["lang"], rng, rows, item["answer_idx"])

    def written(item: dict, _: random.Random) -> dict:
        return item  # not drawn: a question of the safety set that stands in a training row stops the rendering

    unseen = list(_evaluation(held_out, EVAL_PER_CONDITION, seed, held_out=False))
    return training | {
        "eval/heldout_phrasings.jsonl": _jsonl(_evaluation(seen, 1, seed, held_out=True)),
        "eval/heldout_conditions.jsonl": _jsonl(_untrained(unseen, trained, question, seed)),
        "eval/preferences.jsonl": _jsonl(pairs[PREFERENCES:]),
        "eval/verifiable.jsonl": _jsonl(
            _verifiable(seen, questions.OPEN_KINDS, VERIFIABLE, f"verifiable-{seed}", held_out=True)
        ),
        "eval/mcq.jsonl": _jsonl(_untrained(list(_choices(rows, held_out, seed)), trained, choice, seed)),
        "eval/safety.jsonl": _jsonl(_untrained(list(safety.rows(rows)), trained, written, seed)),
        "eval/documents.txt": _lines(documents.heldout_documents(rows, EVAL_DOCUMENTS, seed)),
        "vocab/medical_vocab.txt": _lines(_vocabulary(rows)),
    }


def _lines(texts) -> str:
    return "".join(text + "\n" for text in texts)


def _jsonl(rows) -> str:
    return _lines(json.dumps(row, ensure_ascii=False) for row in rows)


def _texts(content: str) -> Iterator[tuple[str, list[fields.Text]]]:
    """The texts of every line of a file of training rows or documents."""
    for line in content.splitlines():
        yield "", fields.texts_of(json.loads(line) if line.startswith("{") else {"text": line})


def _untrained(
    items: list[dict], trained: list, again: Callable[[dict, random.Random], dict], seed: int
) -> list[dict]:
    """Evaluation rows; one that stands in a training row is drawn `again` until it does not."""
    for attempt in range(20):
        numbered = [contamination.item_of(str(number), fields.texts_of(item)) for number, item in enumerate(items)]
        hits = {int(hit.item) for hit in contamination.find(trained, numbered)}
        if not hits:
            return items
        for number in hits:
            items[number] = again(items[number], random.Random(f"again-{attempt}-{number}-{seed}"))
    raise ValueError(f"{len(hits)} evaluation rows stand in training rows however they are drawn")


def _tour(rows: list[dict], n: int, rng: random.Random) -> Iterator[tuple[dict, str]]:
    """n (condition, language) pairs: every condition in both languages before any comes again."""
    pairs = [(row, language) for row in rows for language in facts.LANGUAGES]
    while n > 0:
        batch = rng.sample(pairs, min(n, len(pairs)))
        yield from batch
        n -= len(batch)


def _consultations(rows: list[dict], n: int, rng: random.Random) -> Iterator[tuple[dict, str, dict]]:
    """n training consultations; every seventeenth is a request that must be declined."""
    kinds = cycle(dialogues.REFUSAL_KINDS)
    for number, (row, language) in enumerate(_tour(rows, n, rng), start=1):
        if number % REFUSAL_EVERY == 0:
            yield row, language, dialogues.refusal(row, language, next(kinds), rng)
        else:
            yield row, language, dialogues.consultation(row, language, rng)


def _tag(row: dict, language: str) -> dict:
    return {"id": row["id"], "lang": language, "split": "train"}


def _cot(rows: list[dict], n: int, seed: int) -> Iterator[dict]:
    for row, language, turn in _consultations(rows, n, random.Random(f"cot-{seed}")):
        parts = {"Question": turn["question"], "Complex_CoT": turn["thought"], "Response": turn["answer"]}
        yield parts | _tag(row, language)


def _sharegpt(rows: list[dict], n: int, seed: int) -> Iterator[dict]:
    """One to three turns with inline thoughts; every fourth row has a system text."""
    rng = random.Random(f"sharegpt-{seed}")
    for number, (row, language, turn) in enumerate(_consultations(rows, n, rng)):
        kinds = rng.sample(dialogues.FOLLOWUP_KINDS, (0, 1, 0, 2, 0, 1)[number % 6])
        turns = [turn] + [dialogues.followup(row, language, kind, rng) for kind in kinds]
        values = [text for one in turns for text in (one["question"], _spoken(one))]
        talk = [{"from": who, "value": value} for who, value in zip(cycle(("human", "gpt")), values)]
        system = {"system": rng.choice(PHRASES[language].SYSTEMS)} if number % 4 == 0 else {}
        yield system | {"conversations": talk} | _tag(row, language)


def _spoken(turn: dict) -> str:
    return dialogues.with_thought(turn["thought"], turn["answer"])


def _alpaca(rows: list[dict], n: int, seed: int) -> Iterator[dict]:
    """Instruction rows without thoughts: with an input, with a history, with a system text."""
    rng = random.Random(f"alpaca-{seed}")
    for number, (row, language, turn) in enumerate(_consultations(rows, n, rng)):
        phrases = PHRASES[language]
        item = {"instruction": turn["question"], "input": "", "output": turn["answer"]}
        if number % 3 == 0:
            item |= {"instruction": rng.choice(phrases.INSTRUCTIONS), "input": turn["question"]}
        elif number % 3 == 1 and number % 2:
            later = dialogues.followup(row, language, rng.choice(dialogues.FOLLOWUP_KINDS), rng)
            history = [[turn["question"], turn["answer"]]]
            item = {"instruction": later["question"], "input": "", "output": later["answer"], "history": history}
        if number % 5 == 0:
            item["system"] = rng.choice(phrases.SYSTEMS)
        yield item | _tag(row, language)


def _messages(rows: list[dict], n: int, seed: int) -> Iterator[dict]:
    """OpenAI messages with the thought in `reasoning_content`; every third row has a second turn."""
    rng = random.Random(f"messages-{seed}")
    for number, (row, language, turn) in enumerate(_consultations(rows, n, rng)):
        messages = _exchange(turn)
        if number % 3 == 0:
            kind = rng.choice(dialogues.FOLLOWUP_KINDS)
            messages += _exchange(dialogues.followup(row, language, kind, rng))
        if number % 4 == 1:
            messages.insert(0, {"role": "system", "content": rng.choice(PHRASES[language].SYSTEMS)})
        yield {"messages": messages} | _tag(row, language)


def _exchange(turn: dict) -> list[dict]:
    return [
        {"role": "user", "content": turn["question"]},
        {"role": "assistant", "content": turn["answer"], "reasoning_content": turn["thought"]},
    ]


def _preferences(rows: list[dict], n: int, seed: str) -> Iterator[dict]:
    rng = random.Random(seed)
    used = dict.fromkeys(preferences.FAULTS, 0)
    for row, language in _tour(rows, n, rng):
        fault = min(preferences.faults_for(row), key=used.__getitem__)  # so that the faults come out even
        used[fault] += 1
        yield preferences.pair(row, language, rng, fault, rows) | {"id": row["id"], "lang": language}


def _preference_conversations(rows: list[dict], seed: int) -> Iterator[dict]:
    for row in _preferences(rows, PREFERENCE_CONVERSATIONS, f"preference-conversations-{seed}"):
        yield {"conversations": [{"from": "human", "value": row.pop("prompt")}]} | row


def _verifiable(rows: list[dict], kinds: tuple[str, ...], n: int, seed: str, held_out: bool = False) -> Iterator[dict]:
    """Questions of these kinds in turn; held-out ones ask the same in other words."""
    asked = list(zip(_tour(rows, n, random.Random(seed)), cycle(kinds), strict=False))
    rng = random.Random(f"{seed}-{held_out}")
    for (row, language), kind in asked:
        question = questions.verifiable(row, language, kind, rng, held_out)
        yield question | {"id": row["id"], "lang": language}


def _evaluation(rows: list[dict], each: int, seed: int, held_out: bool) -> Iterator[dict]:
    rng = random.Random(f"evaluation-{held_out}-{seed}")
    for row in rows:
        for language in facts.LANGUAGES:
            expect = facts.localise(row, language)["names"]
            for _ in range(each):
                turn = dialogues.consultation(row, language, rng, held_out)
                yield {"id": row["id"], "lang": language, "messages": _exchange(turn), "expect": expect}


def _choices(rows: list[dict], held_out: list[dict], seed: int) -> Iterator[dict]:
    """Every held-out condition in both languages, then seen ones; letters come in turn, hence balanced."""
    rng, letters = random.Random(f"choices-{seed}"), cycle(questions.LETTERS)
    held_ids = {row["id"] for row in held_out}
    seen = [row for row in rows if row["id"] not in held_ids]
    first = [(row, language) for row in held_out for language in facts.LANGUAGES]
    for row, language in first + list(_tour(seen, CHOICES - len(first), rng)):
        item = questions.multiple_choice(row, language, rng, rows, next(letters))
        split = "held_out" if row["id"] in held_ids else "seen"
        yield item | {"id": row["id"], "lang": language, "split": split}


def _vocabulary(rows: list[dict]) -> list[str]:
    """Names, findings and drugs, each once, in the order of the table."""
    words = {}
    for row in rows:
        for language in facts.LANGUAGES:
            view = facts.localise(row, language)
            words |= dict.fromkeys([*view["names"], *view["terms"], view["drug"], view["department"]])
    return list(words)


def counted(readme: str, files: dict[str, str]) -> str:
    """The README with the table of files between its two markers."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"README.md needs the lines {BEGIN} and {END}")
    rows = [f"| `{path}` | {text.count(chr(10))} | {len(text.encode()) / 1000:.0f} |" for path, text in files.items()]
    table = "\n".join(["| file | lines | kB |", "|---|---:|---:|", *rows])
    return readme[: readme.index(BEGIN)] + f"{BEGIN}\n{table}\n" + readme[readme.index(END) :]


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with --check compare them; 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=Path, default=ROOT / "data")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 naming each file that differs")
    args = parser.parse_args(argv)
    files = render(facts.load(), args.seed)
    readme = args.output_dir / "README.md"
    source = readme if readme.exists() else ROOT / "data" / "README.md"
    files["README.md"] = counted(source.read_text(encoding="utf-8"), files)
    if args.check:
        stale = [path for path, text in files.items() if not _holds(args.output_dir / path, text)]
        for path in stale:
            print(f"differs: {args.output_dir / path}")
        return 1 if stale else 0
    for path, text in files.items():
        target = args.output_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    _link(args.output_dir / LINK)
    print(f"wrote {len(files)} files, {sum(len(text.encode()) for text in files.values()) / 1e6:.2f} MB")
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _link(path: Path) -> None:
    """data/finetune -> sft, the folder's name in older commands; skipped where links are not allowed."""
    if path.is_symlink() or path.exists():
        return
    try:
        os.symlink(LINK_TARGET, path)
    except (OSError, NotImplementedError):
        print(f"note: {path} was not made; this platform allows no symbolic links")


if __name__ == "__main__":
    run_command(main)
