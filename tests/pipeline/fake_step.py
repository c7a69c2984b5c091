"""A stand-in for every script of the chain: no training, but outputs that depend on what a step reads and needs.

It may be told by a file `orders/STEP` in the working directory what to do at a step: fail, wait, or kill its parent
(the pipeline) before, amid or after its work. A kill is carried out once.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

ORDERS = Path("orders")


def given(argv):
    """`{flag: words}`, and the words in front of the first flag."""
    found, name, loose = {}, None, []
    for word in argv:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif name:
            found[name].append(word)
        else:
            loose.append(word)
    return found, loose


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents(path: Path) -> str:
    """What a step makes of something that it reads."""
    if path.is_file():
        return sha(path.read_bytes())
    if (path / "lineage.json").is_file():
        return json.loads((path / "lineage.json").read_text())["id"]
    return sha("".join(contents(file) for file in sorted(path.rglob("*")) if file.is_file()).encode())


def made_of(script: str, flags: dict, loose: list) -> str:
    names = ("model_name_or_path", "peft_model_path", "reward_model_path", "train_file_dir", "base_model", "data_file",
             "evaluations", "eval_file")  # fmt: skip
    for recipe in loose:
        for line in Path(recipe).read_text().splitlines():
            name, _, value = line.partition(": ")
            flags.setdefault(name, [value])
    paths = [*loose, *(word for name in names for word in flags.get(name, []))]
    return sha("".join([script, *(contents(Path(path)) if Path(path).exists() else path for path in paths)]).encode())


def ordered(name: str, when: str) -> None:
    """Do what this step was told to do at this moment."""
    path = ORDERS / name
    order = path.read_text() if path.is_file() else None
    if order == when:
        path.unlink()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)  # the kernel ends this process with its parent
    elif order == "fail" and when == "before":
        print("\n".join(f"line {number}" for number in range(30)))
        print("error: the data of this step is not as it should be", file=sys.stderr)
        sys.exit(2)
    elif order == "wait" and when == "before":
        Path(f"{name}.waits").write_text(str(os.getpid()))
        time.sleep(60)


def model(place: Path, stage: str, kind: str, start: str, content: str, how: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "lineage.json").unlink(missing_ok=True)
    weights = "model.safetensors" if kind == "merged" else "adapter_model.safetensors"
    (place / weights).write_text(content)
    (place / "metrics.json").write_text(json.dumps({"train_loss": int(content[:4], 16) / 65536}))
    ordered(place.name, "amid")
    files = {
        path.name: [path.stat().st_size, sha(path.read_bytes())] for path in sorted(place.iterdir()) if path.is_file()
    }
    parents = []
    if (Path(start) / "lineage.json").is_file():
        parent = json.loads((Path(start) / "lineage.json").read_text())
        parents = [{"id": parent["id"], "stage": parent["stage"], "path": os.path.relpath(start, place), "how": how}]
    manifest = {"schema": 1, "stage": stage, "kind": kind, "id": "s1:" + content[:32], "load": {}, "parents": parents,
                "files": files, "merge": {"kl": 1e-6} if kind == "merged" else None}  # fmt: skip
    (place / "lineage.json").write_text(json.dumps(manifest))


def evaluation(place: Path, flags: dict, content: str) -> None:
    (place / "cases").mkdir(parents=True, exist_ok=True)
    (place / "cases" / "chat.jsonl").write_text(json.dumps({"id": "a", "values": {"right": 1.0}}) + "\n")
    ordered(f"evaluate-{place.name}", "amid")
    measure = {"name": "right", "label": "right", "zh": "对", "kind": "share", "better": "higher", "unit": ""}
    task = {
        "name": "chat",
        "title": "Chat",
        "zh": "对话",
        "measures": [measure],
        "made_of": {},
        "n": 1,
        "complete": True,
    }
    whole = {"schema": 1, "name": flags["name"][0], "complete": True, "identity": {"model": content}, "about": {},
             "tasks": {"chat": task}, "records": [], "leakage": None}  # fmt: skip
    (place / "evaluation.json").write_text(json.dumps(whole))


def main() -> None:
    script = Path(sys.argv[0]).name
    flags, loose = given(sys.argv[1:])
    place = Path(flags.get("output_dir", flags.get("output_file"))[0])
    name = place.stem if script != "evaluation.py" or "evaluations" in flags else f"evaluate-{place.name}"
    with open("ran.txt", "a") as stream:
        stream.write(
            f"{name} {' '.join(word for word in sys.argv[1:] if word.startswith(('--over', '--resume')))}".strip()
            + "\n"
        )
    ordered(name, "before")
    content = made_of(script, flags, loose)
    if script == "evaluation.py" and "evaluations" in flags:
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").write_text(json.dumps(content))
    elif script == "evaluation.py":
        evaluation(place, flags, content)
    elif script == "inference.py":
        row = {"prompt": "?", "answer": content, "thought": None, "finish_reason": "stop"}
        place.write_text(json.dumps(row) + "\n")
    elif script == "merge_peft_adapter.py":
        model(place, "merge", "merged", flags["peft_model_path"][0], content, "merged")
    else:
        start = flags["model_name_or_path"][0]
        how = "continued" if start.endswith("sft") else "base"
        model(place, place.name, "adapter", start, content, how)
    print(f"{name}: written")
    ordered(name, "after")


main()
