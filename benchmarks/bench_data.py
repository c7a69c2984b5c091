"""Rows to packed ids: bedside beside a one-at-a-time `datasets.map` + `apply_chat_template`, in one run.

    python benchmarks/bench_data.py --conversations 20000 --threads 2

Both read the same rows with the same tokenizer and template; the ids and labels must be equal, then the ratio counts.
Ours is timed to the end (read, checked, accounted, tokenized, packed); the other one only to unpacked ids.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside import errors, models
from bedside.data import build, chats, tokens


def write_rows(path: Path, count: int) -> None:
    """`count` sharegpt rows of one to three turns with thoughts, from our own SFT data; every text differs."""
    answers = [json.loads(line) for line in Path("data/sft/cot.jsonl").read_text(encoding="utf-8").splitlines()]
    with open(path, "w", encoding="utf-8") as stream:
        for number in range(count):
            turns = []
            for turn in range(1 + number % 3):
                row = answers[(number * 7 + turn * 31) % len(answers)]
                answer = f"<think>\n{row['Complex_CoT']}\n</think>\n\n{number}. {row['Response']}"
                turns.append({"from": "human", "value": f"{row['Question']} ({number})"})
                turns.append({"from": "gpt", "value": answer})
            stream.write(json.dumps({"conversations": turns}, ensure_ascii=False) + "\n")


def ours(path: Path, tokenizer, template, max_length: int, processes: int):
    """Packed dataset and unpacked samples."""
    source = build.sources([str(path)])
    sets = chats.read_sets(source, [], build.Reading(), max_bad_rate=0.0)
    encoding = tokens.encoding_for(tokenizer, template, max_length)
    samples = build.make_samples(sets.train, tokenizer.backend_tokenizer, encoding, sets.ledger, processes)
    return build.to_dataset(samples, packed_length=max_length), samples


def theirs(path: Path, tokenizer, thinking: bool):
    """What most scripts do: one row at a time through the tokenizer's chat template, with its assistant mask.

    Under a thinking template a chat of N answers has to be N samples here too, or thoughts would be lost.
    """
    from datasets import load_dataset

    def message(turn: dict) -> dict:
        if turn["from"] == "human":
            return {"role": "user", "content": turn["value"]}
        if not thinking:
            return {"role": "assistant", "content": turn["value"]}
        thought, _, answer = turn["value"].removeprefix("<think>\n").partition("\n</think>\n\n")
        return {"role": "assistant", "content": answer, "reasoning_content": thought}

    def sample(messages: list[dict]) -> tuple[list[int], list[int]]:
        made = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        mask = made["assistant_masks"]
        if thinking:  # the last answer only
            end = len(mask) - mask[::-1].index(1)
            begin = end - (mask[:end][::-1].index(0))
            mask = [0] * begin + mask[begin:]
        return made["input_ids"], [i if trained else -100 for i, trained in zip(made["input_ids"], mask, strict=True)]

    def encode(row: dict) -> dict:
        messages = [message(turn) for turn in row["conversations"]]
        ends = range(2, len(messages) + 1, 2) if thinking else [len(messages)]
        ids, labels = zip(*(sample(messages[:end]) for end in ends), strict=True)
        return {"input_ids": list(ids), "labels": list(labels)}

    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
        made = rows.map(encode, remove_columns=rows.column_names)[:]
    return {name: [sample for row in made[name] for sample in row] for name in made}


def main(argv: list[str] | None = None) -> int:
    """Run both, compare, print the ratio; exit status 1 if the ids differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="models/starter")
    parser.add_argument("--template", default="qwen3")
    parser.add_argument("--max_length", type=int, default=2048)
    args = parser.parse_args(argv)
    tokenizer = models.load_tokenizer(args.model)
    template = models.install_template(tokenizer, args.template)
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.jsonl"
        write_rows(path, args.conversations)
        started = time.perf_counter()
        packed, samples = ours(path, tokenizer, template, args.max_length, args.threads)
        our_seconds = time.perf_counter() - started
        started = time.perf_counter()
        other = theirs(path, tokenizer, template.thinking != "none")
        their_seconds = time.perf_counter() - started
    unpacked = build.to_dataset(samples)[:]
    equal = unpacked["input_ids"] == other["input_ids"] and unpacked["labels"] == other["labels"]
    lost = sum(map(len, packed["input_ids"])) - len(samples.ids)
    count = args.conversations
    print(f"{count} conversations, {len(samples.ids):,} tokens, {len(packed)} packed rows, template {args.template}")
    for name, seconds in (
        (f"bedside, {args.threads} threads, rows to packed ids", our_seconds),
        ("datasets.map + apply_chat_template, rows to ids", their_seconds),
    ):
        print(f"{name:52}{seconds:7.2f} s {count / seconds:8.0f}/s")
    same = "equal" if equal else "DIFFER"
    print(f"ratio {their_seconds / our_seconds:.2f}; ids and labels {same}; tokens lost in packing: {lost}")
    return 0 if equal and not lost else 1


if __name__ == "__main__":
    errors.run_command(main)
