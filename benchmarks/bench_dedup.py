"""Exact and near duplicates in generated dialogues: seconds, peak memory, and how many of the planted ones are found.

    python benchmarks/bench_dedup.py --rows 200000
    python benchmarks/bench_dedup.py --rows 20000 --threshold 0.7

One process, one thread. Five rows in a hundred repeat an earlier one, five more repeat one with a few characters
changed (true Jaccard similarity 0.71 and up, in the middle 0.94). Run it with two numbers of rows to see that
time and memory a row stay the same.
"""

import argparse
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside.clean import run
from bedside.clean.account import Account
from bedside.clean.fields import texts_of
from bedside.data.rows import Origin, Row

ZH = (
    "患者反复咳嗽发热头痛胸闷腹泻恶心呕吐乏力多年近日加重夜间明显伴有皮疹关节肿胀建议"
    "复查血常规肝功能心电图注意休息饮食清淡按时服药观察三天如无好转及时就诊"
)
EN = [
    "patient", "reports", "fever", "cough", "chest", "pain", "nausea", "after", "meals", "worse", "at", "night",
    "mild", "rash", "joint", "swelling", "please", "check", "blood", "count", "liver", "function", "rest",
    "drink", "water", "take", "tablets", "twice", "daily", "return", "if", "symptoms", "persist", "beyond",
    "days",
]  # fmt: skip


def dialogue(rng: random.Random) -> dict:
    """A Chinese (three in four) or English question and answer, 40 to 300 characters."""
    if rng.random() < 0.75:
        texts = ["".join(rng.choices(ZH, k=rng.randint(20, 200))) for _ in range(2)]
    else:
        texts = [" ".join(rng.choices(EN, k=rng.randint(10, 80))) for _ in range(2)]
    return {"instruction": texts[0], "output": texts[1]}


def altered(row: dict, rng: random.Random) -> dict:
    """The row with one token in forty changed in its answer, at least one."""
    words = row["output"].split(" ") if " " in row["output"] else list(row["output"])
    for _ in range(max(1, len(words) // 40)):
        words[rng.randrange(len(words))] = "药" if len(words[0]) == 1 else "medicine"
    return {**row, "output": (" " if " " in row["output"] else "").join(words)}


def rows(count: int, seed: int, planted: dict[str, int]):
    """`count` rows; the last thousand new ones are what repetitions are made of. `planted` is counted up."""
    rng, recent = random.Random(seed), []
    for line in range(1, count + 1):
        chance = rng.random()
        if recent and chance < 0.10:
            row = rng.choice(recent)
            kind = "exact" if chance < 0.05 else "near"
            planted[kind] += 1
            row = dict(row) if kind == "exact" else altered(row, rng)
        else:
            row = dialogue(rng)
            recent = [*recent[-999:], row] if line % 50 == 1 else recent
        yield Row(Origin("generated", line), row)


def main() -> None:
    """Generate, search, print one line a fact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.perf_counter()
    made = sum(len(texts_of(row.value)) for row in rows(args.rows, args.seed, {"exact": 0, "near": 0}))
    generating, planted = time.perf_counter() - started, {"exact": 0, "near": 0}
    account = Account(Path("outputs-bench/dedup"))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with account:
        stream = run.alone(run.admit(rows(args.rows, args.seed, planted), account), [], account)
        stream = run.without_near_duplicates(run.without_duplicates(stream, account), args.threshold, account)
        kept = sum(1 for _ in run.kept(stream, account))
    seconds = time.perf_counter() - started - generating
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{args.rows} rows, {made} texts: {seconds:.1f} s of search ({generating:.1f} s of generating taken off)")
    print(f"{1e6 * seconds / args.rows:.0f} microseconds a row; peak {peak / 1024:.0f} MB, {before / 1024:.0f} before")
    print(f"kept {kept}; planted {planted}; removed {dict(account.removed)}")


if __name__ == "__main__":
    main()
