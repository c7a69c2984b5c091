"""What is said before and after the steps: what will be done; the chain as a tree, the table of stages, an answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from bedside import lineage
from bedside.errors import LineageError, UserError
from bedside.pipeline.flags import BRANCHES, Wishes
from bedside.pipeline.state import State
from bedside.pipeline.steps import ANSWER, EVALUATION, MODEL, REPORT, Step, final, question_file, question_text

_HOW = {"continued": "continues {}", "base": "new adapter on {}", "merged": "{} folded into its base",
        "init": "all parameters, from {}"}  # fmt: skip


def head(wishes: Wishes, steps: Sequence[Step]) -> list[str]:
    """What will be done with what, and what is left out, before anything runs."""
    lanes = f"{wishes.jobs} at a time" if wishes.jobs > 1 else "one after the other"
    threads = f", {wishes.threads} thread{'s' if wishes.threads > 1 else ''} each" if wishes.threads else ""
    what = f"{' '.join(wishes.stages)} from {wishes.model} on {wishes.data.path('')}"
    lines = [f"{wishes.output}/: {what}; {len(steps)} steps, {lanes}{threads}"]
    lines += [f"left out: {stage}, {why}" for stage, why in wishes.skipped]
    if wishes.own_data and not wishes.data.files.get("eval"):
        lack = wishes.data.lack("eval")
        lines.append(f"left out: every evaluation and the report, {wishes.data.path('eval')}/ {lack}")
    elif wishes.own_data:
        lines += [
            f"not used: {path}, it is no task's by its name (docs/stages/pipeline.md)" for path in wishes.data.unused
        ]
    return lines


def commands(wishes: Wishes, steps: Sequence[Step]) -> str:
    """Every command, as it can be typed, in an order that works."""
    blocks = []
    for step in steps:
        if step.kind == ANSWER:
            text, place = question_text(wishes).strip(), question_file(wishes)
            blocks.append(f"# the question\nprintf '%s\\n' {shlex.quote(text)} > {shlex.quote(place)}")
        blocks.append(f"# {step.title}\n{shlex.join(step.argv)}")
    return "\n" + "\n\n".join(blocks)


def ending(wishes: Wishes, steps: Sequence[Step], outcome: Mapping[str, str], known: State) -> str:
    """The tree, the table, the answer, and where things lie; what failed comes last."""
    there = [step for step in steps if outcome.get(step.name) in ("made", "kept")]
    blocks = [tree(wishes.model, there, known), *tables([step for step in there if step.kind == EVALUATION])]
    blocks += [wins(step) for step in there if step.name == "against-sft"]
    blocks += [answer(step) for step in there if step.kind == ANSWER]
    blocks += [places(wishes, there)]
    failed = [step.name for step in steps if outcome.get(step.name) == "failed"]
    if failed:
        lost = [step.name for step in steps if outcome.get(step.name) == "not run"]
        blocks.append(
            f"FAILED: {', '.join(failed)}; see {wishes.output}/logs/{failed[0]}.log"
            + (f"\nnot run because of that: {', '.join(lost)}" if lost else "")
            + "\nthe same command runs these alone"
        )
    return "\n" + "\n\n".join(block for block in blocks if block)


def tree(model: str, steps: Sequence[Step], known: State) -> str:
    """The chain with its branches: a stage under what it was made from, by the ids in lineage.json."""
    nodes: dict[str, tuple[str, dict]] = {}
    for step in steps:
        if step.kind == MODEL:
            try:
                manifest = lineage.read(step.output)
            except LineageError:
                manifest = None
            if manifest:
                nodes[step.name] = (Path(step.output).name, manifest)
    if not nodes:
        return ""
    names = {manifest["id"]: name for name, (_, manifest) in nodes.items()}
    below: dict[str | None, list[str]] = {}
    for name, (_, manifest) in nodes.items():
        parents = manifest["parents"]
        parent = names.get(parents[0]["id"]) if parents else None
        below.setdefault(parent if parent != name else None, []).append(name)

    def lines(parent: str | None, lead: str) -> list[str]:
        found = []
        for number, name in enumerate(members := below.get(parent, [])):
            last = number == len(members) - 1
            place, manifest = nodes[name]
            before = nodes[parent][0] if parent else model
            how = (manifest["parents"] or [{}])[0].get("how", "base")
            told = known.steps.get(name, {}).get("told") or ""
            words = [place, manifest["kind"], manifest["id"][:15], _HOW.get(how, "from {}").format(before)]
            words += ["scored by rm"] if name == "ppo" else []
            found.append(f"{lead}{'└─ ' if last else '├─ '}{'  '.join(words)}")
            rest = lead + ("   " if last else "│  ")
            found += [f"{rest}{'│  ' if below.get(name) else '   '}{told}"] if told else []
            found += lines(name, rest)
        return found

    return "\n".join([f"{model}  base", *lines(None, "")])


def tables(evaluations: Sequence[Step]) -> list[str]:
    """Stages against measures, from the evaluations that are there; then the branches against SFT, from which they
    all began. Rows are the models, and the first one is what the others are compared with."""
    names = [step.name.removeprefix("evaluate-") for step in evaluations]
    branches = [step for step, name in zip(evaluations, names, strict=True) if name in ("sft", *BRANCHES)]
    found = [_table(evaluations)] if evaluations else []
    return found + ([_table(branches)] if "sft" in names and 1 < len(branches) < len(evaluations) else [])


def _table(evaluations: Sequence[Step]) -> str:
    from bedside.evaluate import report, stored

    try:
        return report.terminal.table(report.of([stored.read(step.output) for step in evaluations]))
    except UserError as error:
        return f"the table of stages cannot be made: {error}"


def wins(step: Step) -> str:
    """Who answers better than SFT, a line a pair and judge, from the report over them."""
    try:
        judged = json.loads(Path(step.output, "report.json").read_text(encoding="utf-8"))["judged"]
        return "\n".join(_win(one) for one in judged)
    except (OSError, ValueError, KeyError, TypeError):
        return f"{step.title}: see {step.output}/report.md"


def _win(one: dict) -> str:
    counts = f"won {one['won']}, tied {one['tied']}, lost {one['lost']}; a tie is half a win"
    who = f"{one['second']} over {one['first']}, by {one['judge']}"
    rate = one["win_rate"]
    if rate["low"] is None:
        return f"{who}: too few answers for a win rate ({counts})"
    return f"{who}: wins {100 * rate['value']:.0f} % [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}] ({counts})"


def answer(step: Step) -> str:
    """The question, and what the last model thinks and answers."""
    try:
        row = json.loads(Path(step.output).read_text(encoding="utf-8").splitlines()[-1])
    except (ValueError, IndexError):
        return ""
    asked = next((turn["content"] for turn in reversed(row.get("messages", [])) if turn["role"] == "user"), "")
    parts = [f"asked     {asked or row.get('prompt', '')}"]
    parts += [f"thought   {row['thought'].strip()}"] if row.get("thought") else []
    parts += [f"answered  {(row.get('answer') or row.get('text') or '').strip()}"]
    return "\n".join(parts)


def places(wishes: Wishes, there: Sequence[Step]) -> str:
    """Where to look next."""
    lines = [f"report    {step.output}/report.html" for step in there if step.kind == REPORT and step.name == "report"]
    stage = final(wishes)
    merged = next((step.output for step in there if step.name == f"merge-{stage}" and stage != "pt"), None)
    if merged:
        lines += [f"chat      python inference.py --base_model {merged} --interactive",
                  f"serve     sh vllm_deployment.sh {merged}"]  # fmt: skip
    return "\n".join(lines)
