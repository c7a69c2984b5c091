"""Rows to packed ids: bedside beside `datasets.map` + `apply_chat_template`, in one run on the same cores.

    python benchmarks/bench_data.py --conversations 20000 --processes 2
    python benchmarks/bench_data.py --memory 200000 2000000

Both read the same rows with the same tokenizer and template; the ids and labels must be equal, then the ratio counts.
Ours is timed to the end (read, checked, accounted, tokenized, packed); the other one only to unpacked ids. With
--memory, data is prepared in a directory, once for each size: seconds, and the memory of the largest process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside import errors, logs, models
from bedside.data import build, chats, prepared, tokens


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


def write_short_rows(path: Path, count: int) -> None:
    """`count` alpaca rows of one short turn, from our own SFT data; every text differs."""
    rows = [json.loads(line) for line in Path("data/sft/alpaca.jsonl").read_text(encoding="utf-8").splitlines()]
    with open(path, "w", encoding="utf-8") as stream:
        for number in range(count):
            row = rows[number % len(rows)]
            turns = [("human", f"{row['instruction']} ({number})"), ("gpt", row["output"])]
            said = [{"from": who, "value": text} for who, text in turns]
            stream.write(json.dumps({"conversations": said}, ensure_ascii=False) + "\n")


def ours(path: Path, tokenizer, template, max_length: int, packed: int | None, processes: int):
    """The dataset of ids and labels."""
    plan = chats.Plan(build.sources([str(path)]), [], build.Reading(), max_bad_rate=0.0)
    encoding = tokens.encoding_for(tokenizer, template, max_length)
    return chats.datasets(plan, tokenizer.backend_tokenizer, encoding, packed, processes).train


def theirs(path: Path, tokenizer, thinking: bool, processes: int):
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
        made = rows.map(encode, remove_columns=rows.column_names, num_proc=processes)[:]
    return {name: [sample for row in made[name] for sample in row] for name in made}


def prepare(path: str, directory: str, processes: int) -> None:
    """What the process does whose memory is measured."""
    tokenizer = models.load_tokenizer("models/starter")
    encoding = tokens.encoding_for(tokenizer, models.install_template(tokenizer, "chatml"), 1024)
    plan = chats.Plan(build.sources([path]), [], build.Reading(), max_bad_rate=0.0)
    prepared.datasets(Path(directory), plan, tokenizer.backend_tokenizer, encoding, 1024, processes)


def memory(sizes: list[int], processes: int) -> None:
    """Print seconds and peak memory of preparing files of these numbers of rows."""
    for count in sizes:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "rows.jsonl"
            write_short_rows(path, count)
            code = (
                "import sys; sys.path[:0] = ['.', 'benchmarks']; import bench_data, resource as r; "
                f"bench_data.prepare({str(path)!r}, {directory + '/prepared'!r}, {processes}); "
                "print(*(r.getrusage(who).ru_maxrss for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)))"
            )
            script = Path(directory) / "run.py"
            script.write_text(f"if __name__ == '__main__':\n    {code}\n", encoding="utf-8")
            started = time.perf_counter()
            done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - started
            main_process, worker = (int(size) / 1024 for size in done.stdout.split())
            print(f"{count:9} rows {path.stat().st_size / 1e6:7.0f} MB {seconds:7.1f} s {count / seconds:7.0f}/s; "
                  f"peak {main_process:.0f} MB, a worker {worker:.0f} MB", flush=True)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run both, compare, print the ratio; exit status 1 if the ids differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--short", action="store_true", help="rows of one short turn, without thoughts")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="models/starter")
    parser.add_argument("--template", default="qwen3")
    parser.add_argument("--max_length", type=int, default=2048)
    parser.add_argument("--memory", type=int, nargs="+", help="measure memory for these numbers of rows instead")
    args = parser.parse_args(argv)
    if args.memory:
        memory(args.memory, args.processes)
        return 0
    tokenizer = models.load_tokenizer(args.model)
    template = models.install_template(tokenizer, args.template)
    import datasets

    datasets.disable_progress_bars()
    logs.info = logs.warn = lambda message: None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.jsonl"
        (write_short_rows if args.short else write_rows)(path, args.conversations)
        size = path.stat().st_size
        started = time.perf_counter()
        packed = ours(path, tokenizer, template, args.max_length, args.max_length, args.processes)
        our_seconds = time.perf_counter() - started
        started = time.perf_counter()
        other = theirs(path, tokenizer, template.thinking != "none", args.processes)
        their_seconds = time.perf_counter() - started
        unpacked = ours(path, tokenizer, template, args.max_length, None, args.processes)[:]
    equal = unpacked["input_ids"] == other["input_ids"] and unpacked["labels"] == other["labels"]
    total = sum(map(len, unpacked["input_ids"]))
    lost = total - sum(map(len, packed["input_ids"]))
    count = args.conversations
    print(f"{count} conversations of {size / count:.0f} bytes, {total:,} tokens, {len(packed)} packed rows, "
          f"template {args.template}, {args.processes} processes each")  # fmt: skip
    for name, seconds in (
        ("bedside, rows to packed ids", our_seconds),
        ("datasets.map + apply_chat_template, rows to ids", their_seconds),
    ):
        print(f"{name:52}{seconds:7.2f} s {count / seconds:8.0f}/s")
    same = "equal" if equal else "DIFFER"
    print(f"ratio {their_seconds / our_seconds:.2f}; ids and labels {same}; tokens lost in packing: {lost}")
    return 0 if equal and not lost else 1


if __name__ == "__main__":
    errors.run_command(main)
