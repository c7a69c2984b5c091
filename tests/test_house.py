"""The house rules that a machine can check: imports, sizes, what may not stand where.

sh run_tests.sh tests/test_house.py
"""

import ast
import graphlib
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
PACKAGE = sorted(REPO.glob("bedside/**/*.py"))
# A stage or a script built on the package: everything at the top that a person runs.
SCRIPTS = sorted(REPO.glob("*.py"))

# A module may import from lines above its own, and from its own line.
ORDER = (
    ("errors", "logs", "documents", "openers", "wholefile"),
    ("data", "clean", "templates", "thoughts", "answers", "synth", "hub"),
    ("spellings", "elsewhere", "trainer_flags", "args", "data_args", "stage_args", "kernel_args",
     "flagtable", "usage", "cli",
     "launch", "scaling", "trainer_checks", "settle", "inference_flags"),
    ("fingerprints", "lineage", "own_template", "precision", "nf4_cache", "models", "kernels",
     "reward_model", "adapters", "probe", "policy",
     "checkpoints"),
    ("guards", "outputs", "profiling", "fast", "fitting", "card", "manifest", "collate", "accounting", "plots",
     "questions", "draws",
     "written", "hooks",
     "growing", "stretches",
     "generate", "engine", "chat",
     "batch", "remote", "serving", "evaluate",
     "preference", "reward", "rewards", "rollouts", "ppo", "grpo", "parity", "parity_chats",
     "merge_source", "merge", "merge_check", "deploy", "memory", "planner", "quantise", "chatpage",
     "starter",
     "template_check", "template_view", "vocabulary"),
    ("datareport", "settle_pairs", "settle_dpo", "settle_orpo", "settle_kto", "settle_reward",
     "settle_scoring", "settle_rollouts", "settle_ppo", "settle_grpo", "runner", "pipeline", "flagsdoc"),
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
# Subclasses of a library's trainer or config: imported where a run begins, so that they may import it.
LATE = {f"bedside/preference/{name}.py" for name in ("trainer", "config", "losses", "logprobs")}
LATE.add("bedside/growing.py")
LATE |= {
    f"bedside/kernels/{name}.py"
    for name in ("attention", "decoder", "device", "document_attention", "ends", "flat", "head", "layer_ops", "linear",
                 "loss", "mlp", "nf4", "norm", "offload", "triton_attention", "triton_loss", "triton_ops", "varlen")
}  # fmt: skip
LATE |= {
    f"bedside/ppo/{name}.py"
    for name in ("objective", "roles", "rollout", "places", "batches", "evaluation", "saving", "trainer", "config")
}
HEAVY = {"torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate", "matplotlib"}
# Modules that are tables of sentences: long, and read line by line.
PHRASES = {"bedside/synth/phrases_en.py", "bedside/synth/phrases_zh.py"}
# Where a turn marker may be written: templates, what is typed to forge turns, pad tokens of families, the starter's
# vocabulary.
MARKERS = ("bedside/templates/", "bedside/data/control.py", "bedside/parity_chats.py", "bedside/models.py",
           "bedside/synth/corpus.py")  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(nodes) -> set[str]:
    """Full names of the modules imported by these nodes."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "bedside" else {node.module}
    return found


def at_import(tree: ast.Module):
    """Nodes that run when the module is imported: not the bodies of functions, not `if TYPE_CHECKING`."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def sources(*roots: str):
    made = {".venv", "__pycache__"}
    return [path for root in roots for path in sorted(REPO.glob(root)) if not made & set(path.parts)]


def test_every_module_has_its_place_in_the_order():
    names = {path.relative_to(REPO / "bedside").parts[0].removesuffix(".py") for path in PACKAGE}
    assert sorted(names - set(LEVEL) - {"__init__"}) == [], "give the new module a line in ORDER"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_imports_go_down_the_order_only(path):
    own = path.relative_to(REPO / "bedside").parts[0].removesuffix(".py")
    if own == "__init__" or path.name == "__main__.py":  # a command: nobody imports it, it may import everything
        return
    used = {name.split(".")[1] for name in imports(ast.walk(tree_of(path))) if name.startswith("bedside.")}
    last = len(ORDER)  # a module without its place fails the test above
    assert sorted(name for name in used if LEVEL.get(name, last) > LEVEL.get(own, last)) == []


def test_no_two_modules_import_each_other():
    graph = {}
    for path in PACKAGE:
        own = name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        graph[own] = {name for name in imports(at_import(tree_of(path))) if name.startswith("bedside.")} - {own}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_trl_is_imported_by_stage_scripts_only():
    users = [
        name_of(path) for path in PACKAGE if any(n.split(".")[0] == "trl" for n in imports(ast.walk(tree_of(path))))
    ]
    assert users == []


@pytest.mark.parametrize("path", [*PACKAGE, *SCRIPTS], ids=name_of)
def test_nothing_heavy_is_imported_with_a_module(path):
    heavy = {name.split(".")[0] for name in imports(at_import(tree_of(path)))} & HEAVY
    assert heavy == set() or name_of(path) in LATE, (
        "import it inside the function that needs it: --help and data checks stay fast"
    )


def test_what_is_heavy_is_imported_late():
    late = {name.removesuffix(".py").replace("/", ".") for name in LATE}
    users = {name_of(p) for p in [*PACKAGE, *SCRIPTS] if imports(at_import(tree_of(p))) & late}
    assert users <= LATE


def test_the_data_side_is_free_of_torch():
    light = [p for p in PACKAGE if name_of(p).startswith(("bedside/data/", "bedside/templates/"))]
    users = {
        name_of(p) for p in light if {n.split(".")[0] for n in imports(ast.walk(tree_of(p)))} & (HEAVY - {"datasets"})
    }
    assert users == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_short_and_has_one_main(path):
    tree, text = tree_of(path), path.read_text(encoding="utf-8")
    assert ast.get_docstring(tree), "a script begins with what it does and two commands"
    # A stage is one that settles training flags: shorter than 60 lines, it hides what makes it that stage.
    assert (60 if "runner.start" in text else 1) <= len(text.splitlines()) <= 120
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert ast.unparse(main.args) == "argv: list[str] | None=None"
    assert "errors.run_command(main)" in text, "so that a mistake ends in a sentence, not in a traceback"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_a_module_is_read_in_one_sitting(path):
    if name_of(path) not in PHRASES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, "find the missing noun and split it"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_a_function_fits_on_a_screen(path):
    found = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: lines for name, lines in found.items() if lines > 50} == {}


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_everything_public_has_a_docstring(path):
    tree = tree_of(path)
    missing = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert missing == []
    assert path.name == "__init__.py" or ast.get_docstring(tree), "a module begins with what it promises"


def test_turn_markers_are_written_in_templates_only():
    marker = "<" + "|"
    users = [
        name_of(path)
        for path in [*PACKAGE, *SCRIPTS]
        if marker in path.read_text(encoding="utf-8") and not name_of(path).startswith(MARKERS)
    ]
    assert users == []


def test_nothing_runs_foreign_code_or_a_shell():
    forbidden = (
        r"trust_remote_code\s*=\s*True|torch\.load\(|\bimport pickle|\bpickle\.|shell\s*=\s*True|\beval\(|\bexec\("
    )
    found = {}
    for path in [*PACKAGE, *SCRIPTS, *sources("data/*.py", "benchmarks/**/*.py")]:
        calls = [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(forbidden, line)]
        calls = [line for line in calls if not re.search(r"\.eval\(", line)]  # a model's evaluation mode
        if calls:
            found[name_of(path)] = calls
    assert found == {}


def test_no_path_of_one_machine():
    # In pieces, so that this file does not find itself.
    roots = [a + b for a, b in (("/ho", "me/"), ("/ro", "ot/"), ("/wo", "rk/"), ("/Us", "ers/"), ("C:", "\\"))]
    homes = re.compile("|".join(map(re.escape, roots)))
    written = sources(
        "*.py", "*.sh", "*.md", "Makefile", "bedside/**/*.py", "tests/**/*.py", "docs/**/*.md", "recipes/*.yaml",
        "benchmarks/**/*", "data/*.py", "data/*.md", "data/*.json", ".ci/*",
    )  # fmt: skip
    found = {name_of(path) for path in written if path.is_file() and homes.search(path.read_text(encoding="utf-8"))}
    assert found == set()


def test_nothing_is_left_for_later():
    later = re.compile("|".join(first + last for first, last in (("TO", "DO"), ("FIX", "ME"), ("XX", "X\\b"))))
    found = {name_of(path) for path in [*PACKAGE, *SCRIPTS] if later.search(path.read_text(encoding="utf-8"))}
    assert found == set()
