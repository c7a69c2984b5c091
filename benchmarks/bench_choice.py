"""Multiple-choice questions a minute: an evaluation by likelihood, by generation, or both, as a user runs it.

    python benchmarks/bench_choice.py                               # 1,000 questions on the starter, by both methods
    python benchmarks/bench_choice.py --model outputs-sft --by generation --questions 500
    python benchmarks/bench_choice.py --smoke                       # seconds: does it still run?

The questions are those of data/eval/mcq.jsonl again and again, each under an id of its own, with its options turned
round in each repetition. Time is that of the whole command, imports and loading included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SOURCE = REPO / "data" / "eval" / "mcq.jsonl"


def questions(count: int) -> list[dict]:
    """`count` rows: the file's questions, in each round with their options one place further."""
    rows = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines() if line.strip()]
    made = []
    for index in range(count):
        row, turn = dict(rows[index % len(rows)]), index // len(rows)
        letters, texts = zip(*row["options"].items(), strict=True)
        by = turn % len(texts)
        options = dict(zip(letters, texts[by:] + texts[:by], strict=True))
        letter = next(letter for letter, text in options.items() if text == row["answer"])
        made.append(
            row
            | {
                "options": options,
                "answer_idx": letter,
                "id": f"{row['id']}-{index}",
                "question": f"{index + 1}. {row['question']}",
            }
        )
    return made


def run(given: argparse.Namespace, directory: Path) -> float:
    """Seconds of one evaluation."""
    file = directory / "questions.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions(given.questions)), "utf-8")
    by = "likelihood,generation" if given.by == "both" else given.by
    command = [
        sys.executable, str(REPO / "evaluation.py"), "--model_name_or_path", given.model, "--tasks", "choice",
        "--template_name", given.template_name, "--choice_files", str(file), "--choice_by", by, "--choice_score",
        "text", "--max_new_tokens", str(given.max_new_tokens), "--batch_size", str(given.batch_size), "--dtype",
        "float32", "--output_dir", str(directory / "out"),
    ]  # fmt: skip
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=REPO)
    return time.perf_counter() - started


def main(argv: list[str] | None = None) -> None:
    """Print questions a minute."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="models/starter", help="model or adapter directory (%(default)s)")
    made.add_argument("--questions", type=int, default=1000, help="how many (%(default)s)")
    made.add_argument(
        "--by", default="both", choices=("likelihood", "generation", "both"), help="method (%(default)s)"
    )
    made.add_argument("--max_new_tokens", type=int, default=64, help="longest answer (%(default)s)")
    made.add_argument("--batch_size", type=int, default=64, help="questions at once (%(default)s)")
    made.add_argument("--template_name", default="qwen3", help="chat template (%(default)s: the starter has none)")
    made.add_argument("--smoke", action="store_true", help="eight questions")
    given = made.parse_args(argv)
    if given.smoke:
        given.questions, given.max_new_tokens = 8, 4
    with tempfile.TemporaryDirectory() as directory:
        seconds = run(given, Path(directory))
    print(f"{given.questions} questions by {given.by} on {given.model}: {seconds:.1f} s, "
          f"{60 * given.questions / seconds:.0f} a minute")  # fmt: skip


if __name__ == "__main__":
    main()
