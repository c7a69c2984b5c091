"""argv and recipes to the dataclasses of `args`: types, aliases, layers, and the nearest name for a typo.

A recipe and the command line become the same thing, `Given` words, so that a value means the same in both.
"""

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any, NamedTuple

from bedside import usage
from bedside.elsewhere import RETIRED_IN
from bedside.errors import ConfigError
from bedside.flagtable import Flag, convert, spellings, table
from bedside.spellings import ACCEPTED, AGREED, EXCLUSIVE, RETIRED, RETIRED_FAMILIES

_RECIPES = (".yaml", ".yml", ".json")
_AXOLOTL = {"base_model", "datasets"}  # what every recipe of axolotl has, and none of ours


@dataclasses.dataclass
class Parsed:
    """The groups' instances by class, the trainer's flags, what was given explicitly, and what to tell the user."""

    groups: dict[type, Any]
    trainer: dict[str, Any]
    given: set[str]
    notes: list[str] = dataclasses.field(default_factory=list)
    config: str | None = None  # class of the trainer's config

    def __getitem__(self, group: type) -> Any:
        return self.groups[group]

    def as_dict(self) -> dict[str, Any]:
        """Every flag by name: what a run was asked for, to be written down."""
        return {name: value for group in self.groups.values() for name, value in vars(group).items()} | self.trainer


class Given(NamedTuple):
    """One flag as it stands on the command line or in a recipe: the name as spelled, its words, and where."""

    spelled: str
    words: list[str]
    where: str = ""


def _given_words(argv: list[str]) -> tuple[list[str], list[Given]]:
    """`(words before the first flag, flags with their words)`; dashes in a flag's name count as underscores."""
    loose: list[str] = []
    found: list[Given] = []
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found.append(Given(name.replace("-", "_"), [value] if equals else []))
        elif found:
            found[-1].words.append(word)
        else:
            loose.append(word)
    return loose, found


def _recipe_of(loose: list[str], found: list[Given]) -> tuple[str | None, list[str]]:
    """The recipe named first or by --config (taken out of `found`), and problems."""
    recipes = [word for word in loose if word.endswith(_RECIPES)]
    problems = [
        f"unexpected argument {word}; flags begin with --, a recipe ends in .yaml"
        for word in loose
        if word not in recipes
    ]
    for flag in [flag for flag in found if flag.spelled == "config"]:
        found.remove(flag)
        recipes += flag.words[:1]
        if len(flag.words) != 1:
            problems.append("--config: expected one YAML file after it")
    if len(set(recipes)) > 1:
        problems.append(f"{' and '.join(recipes)}: give one recipe")
    return (recipes[0] if recipes else None), problems


def _read_recipe(path: str, known: dict[str, Flag]) -> list[Given]:
    """The lines of a YAML recipe; scalars stay text (`no`, `5e-5`), so that they take the way of all flags.

    Raises ConfigError for a file that is missing, is not YAML, or is no mapping.
    """
    import yaml

    if not Path(path).is_file():
        near = difflib.get_close_matches(path, [str(p) for p in Path(path).parent.glob("*.yaml")], n=1)
        raise ConfigError(f"{path}: no such recipe" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if root is None:
        raise ConfigError(f"{path}: empty; expected `flag: value` lines")
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: expected `flag: value` lines")
    found, problems = [], []
    if {key.value for key, _ in root.value} >= _AXOLOTL:
        raise ConfigError(
            f"{path}: a recipe of axolotl, whose flags have other names and sections; begin with "
            "recipes/any_model_sft.yaml and give --model_name_or_path and --train_file_dir (docs/flags.md)"
        )
    for key, node in root.value:
        name, where = str(key.value).removeprefix("--").replace("-", "_"), f"{path}:{key.start_mark.line + 1}: "
        if isinstance(node, yaml.MappingNode) and name not in known:
            problems.append(f"{where}{name} is a section; write its lines without indentation, as `flag: value`")
        else:
            found.append(Given(name, _node_words(node), where))
    if problems:
        raise ConfigError(problems)
    return found


def _node_words(node: Any) -> list[str]:
    """A YAML value as the words that would stand on the command line."""
    import json

    import yaml

    if isinstance(node, yaml.ScalarNode):
        return [node.value]
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [item.value for item in node.value] or [""]
    value = yaml.SafeLoader("").construct_document(node)
    return [json.dumps(value)]


def _unknown(given: Given, known: dict[str, Flag], stage: dict[str, str]) -> str:
    name = given.spelled
    sentence = (
        stage.get(name)
        or RETIRED.get(name)
        or next((s for start, s in RETIRED_FAMILIES.items() if name.startswith(start)), None)
    )
    if sentence:
        return f"{given.where}--{name}: {sentence}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean --{near[0]}?" if near else "; --help lists all flags"
    return f"{given.where}--{name}: unknown flag{hint}"


def _from_home(word: str) -> str:
    """A path below ~ in full: a shell writes it so only where it stands alone, and in a recipe never."""
    return str(Path(word).expanduser()) if word.startswith("~/") else word


def _not_needed(given: Given) -> str | None:
    """Why a name that is no flag here may be passed over; None where it may not."""
    name, said = given.spelled, ",".join(given.words).lower()
    if name in ACCEPTED:
        return f"--{name}: not needed, {ACCEPTED[name]}"
    if (said or "true") in AGREED.get(name, ()):
        return f"--{name}{f' {said}' if said else ''}: not needed, it is so here"
    if given.where and name in RETIRED and said in ("", "null", "~"):
        return f"{given.where}{name}: empty, passed over"
    return None


def _switched_off(given: Given, known: dict[str, Flag]) -> Given:
    """`--no_NAME` as transformers' parsers read it: `--NAME False` of a flag that is on or off."""
    name = given.spelled.removeprefix("no_")
    if given.spelled in known or given.words or name not in known or not known[name].kinds <= {"bool", "None"}:
        return given
    return given._replace(spelled=name, words=["False"])


def _value(given: Given, flag: Flag) -> Any:
    """The converted value of one flag; ValueError with the whole sentence."""
    head = f"{given.where}--{given.spelled}"
    if not given.words:
        if flag.bare is None:
            raise ValueError(f"{head}: expected a value after it")
        return convert(flag, flag.bare)
    if len(given.words) > 1 and not flag.many:
        raise ValueError(f"{given.where}unexpected argument {given.words[1]} after --{given.spelled} {given.words[0]}")
    text = ",".join(_from_home(word) for word in given.words)
    try:
        value = convert(flag, text)
    except ValueError as error:
        raise ValueError(f"{f'{head} {text}'.rstrip()}: {error}") from None
    if flag.only and value not in flag.only:
        raise ValueError(f"{head} {text}: not offered; {flag.help}")
    return value


def _layer(
    found: list[Given], known: dict[str, Flag], problems: list[str], notes: list[str], stage: dict[str, str]
) -> dict[str, Any]:
    """Values by canonical name; problems and notes are added to the lists. `stage`: sentences for names it lacks."""
    values: dict[str, Any] = {}
    spelled: dict[str, Given] = {}
    for given in found:
        given = _switched_off(given, known)
        flag = known.get(given.spelled)
        if flag is None:
            note = _not_needed(given)
            (notes if note else problems).append(note or _unknown(given, known, stage))
            continue
        try:
            value = _value(given, flag)
        except ValueError as error:
            problems.append(str(error))
            continue
        first = spelled.setdefault(flag.name, given)
        if first.spelled != given.spelled and values[flag.name] != value:
            one, other = (f"--{g.spelled} {','.join(g.words)}".strip() for g in (first, given))
            problems.append(f"{given.where}{one} and {other} are the same flag; give one")
        values[flag.name] = value
    return values


def _over(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`: what it says also replaces the other ways in which `lower` said it."""
    replaced = {
        other
        for family in EXCLUSIVE
        for name in family
        if name in upper and (upper[name] is not False or name == "use_peft")
        for other in family
        if other != name
    }
    return {name: value for name, value in lower.items() if name not in replaced} | upper


def parse(
    groups: tuple[type, ...],
    argv: list[str] | None = None,
    config: str | None = None,
    description: str = "",
    positional: str | None = None,
) -> Parsed:
    """Parse `argv` (default: the command line) into `groups` and the flags of the trainer config `config`.

    A first argument that ends in .yaml, or --config, is a recipe whose values the other flags override. `--help`
    prints the usage and exits. Words in front of the first flag are the value of the flag `positional`, if there is
    one. Raises ConfigError with every problem found.
    """
    argv = sys.argv[1:] if argv is None else argv
    flags = table(groups, config)
    if "-h" in argv or "--help" in argv:
        sys.stdout.write(usage.text(flags, description, Path(sys.argv[0]).name or "SCRIPT.py"))
        raise SystemExit(0)
    known = spellings(flags)
    stage = {name: told for place in (*(kind.__name__ for kind in groups), config)
             for name, told in RETIRED_IN.get(place, {}).items()}  # fmt: skip
    loose, found = _given_words(list(argv))
    recipe, problems = _recipe_of([] if positional else loose, found)
    notes: list[str] = []
    values: dict[str, Any] = {}
    if recipe:
        try:
            values = _layer(_read_recipe(recipe, known), known, problems, notes, stage)
        except ConfigError as error:
            problems += error.problems
    values = _over(values, _layer(found, known, problems, notes, stage))
    if positional and loose:
        values[positional] = [*loose, *(values.get(positional) or [])]
    own = {field.name for kind in groups for field in dataclasses.fields(kind)}
    trainer = {name: value for name, value in values.items() if name not in own}
    problems += _translate_old_names(trainer)
    if problems:
        raise ConfigError(problems)
    made = {
        kind: kind(**{f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values}) for kind in groups
    }
    return Parsed(made, trainer, set(values), notes, config)


def _translate_old_names(chosen: dict[str, Any]) -> list[str]:
    """Flags that transformers 5 renamed, in place; returns conflicts."""
    problems = []
    ratio = chosen.pop("warmup_ratio", None)
    if ratio is not None:
        if chosen.get("warmup_steps"):
            problems.append(f"--warmup_ratio {ratio} and --warmup_steps {chosen['warmup_steps']:g}: give one")
        elif not 0 <= ratio < 1:
            problems.append(f"--warmup_ratio {ratio}: expected 0 <= ratio < 1; a number of steps is --warmup_steps")
        else:
            chosen["warmup_steps"] = ratio  # below 1 it is a share of all steps
    if chosen.pop("group_by_length", False):
        sampling = chosen.setdefault("train_sampling_strategy", "group_by_length")
        if sampling != "group_by_length":
            problems.append(f"--group_by_length True and --train_sampling_strategy {sampling}: give one")
    return problems
