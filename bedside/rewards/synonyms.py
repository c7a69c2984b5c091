"""The names that the rewards know without being told: conditions of data/conditions.jsonl, departments, drugs, levels.

A name that is known and is not the right one tells that an answer offers something else, or several things.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bedside.errors import DataError
from bedside.rewards.completion import plain
from bedside.rewards.lexicon import Lexicon
from bedside.synth import facts

KINDS = ("diagnosis", "department", "drug", "urgency")
_DEPARTMENTS = (
    ("心内科", "心血管内科", "心脏内科", "心脏科", "cardiology"),
    (
        "呼吸内科",
        "呼吸科",
        "呼吸与危重症医学科",
        "respiratory medicine",
        "pulmonology",
        "chest medicine",
        "pneumology",
    ),
    ("消化内科", "消化科", "胃肠内科", "gastroenterology"),
    ("神经内科", "神经科", "neurology"),
    ("肾内科", "肾脏内科", "肾脏科", "nephrology", "renal medicine"),
    ("内分泌科", "内分泌与代谢科", "内分泌内科", "endocrinology"),
    ("血液内科", "血液科", "haematology"),
    ("风湿免疫科", "风湿科", "风湿免疫内科", "rheumatology"),
    ("感染科", "传染科", "感染病科", "感染性疾病科", "infectious diseases", "infectious disease"),
    ("全科医学科", "全科", "general practice", "family medicine", "GP"),
    ("急诊科", "急诊医学科", "emergency medicine", "emergency department", "emergency room", "A&E", "ER"),
    ("普外科", "普通外科", "general surgery"),
    ("肝胆外科", "hepatobiliary surgery"),
    ("胃肠外科", "gastrointestinal surgery"),
    ("胸外科", "thoracic surgery"),
    ("血管外科", "vascular surgery"),
    ("神经外科", "脑外科", "neurosurgery"),
    ("泌尿外科", "泌尿科", "urology"),
    ("骨科", "orthopaedics", "orthopaedic surgery"),
    ("手外科", "hand surgery"),
    ("乳腺外科", "乳腺科", "breast surgery"),
    ("肛肠科", "proctology", "colorectal surgery"),
    ("小儿外科", "儿外科", "paediatric surgery"),
    ("儿科", "小儿科", "paediatrics"),
    ("妇科", "gynaecology"),
    ("产科", "obstetrics"),
    ("眼科", "ophthalmology"),
    (
        "耳鼻喉科",
        "耳鼻咽喉科",
        "耳鼻咽喉头颈外科",
        "ear, nose and throat",
        "otolaryngology",
        "otorhinolaryngology",
        "ENT",
    ),
    ("皮肤科", "皮肤性病科", "dermatology"),
    ("精神科", "精神心理科", "psychiatry"),
    ("肿瘤科", "oncology"),
)
_DRUGS = (
    ("paracetamol", "acetaminophen", "对乙酰氨基酚", "扑热息痛"),
    ("adrenaline", "epinephrine", "肾上腺素"),
    ("noradrenaline", "norepinephrine", "去甲肾上腺素"),
    ("salbutamol", "albuterol", "沙丁胺醇"),
    ("pethidine", "meperidine", "哌替啶", "度冷丁", "杜冷丁"),
    ("furosemide", "frusemide", "呋塞米", "速尿"),
    ("lidocaine", "lignocaine", "利多卡因"),
    ("nitroglycerin", "glyceryl trinitrate", "GTN", "硝酸甘油"),
    ("aspirin", "acetylsalicylic acid", "阿司匹林", "乙酰水杨酸"),
    ("benzylpenicillin", "penicillin G", "青霉素", "青霉素G"),
    ("phenoxymethylpenicillin", "penicillin V", "青霉素V钾", "青霉素V"),
    ("valaciclovir", "valacyclovir", "伐昔洛韦"),
    ("aciclovir", "acyclovir", "阿昔洛韦"),
    ("ciclosporin", "cyclosporine", "环孢素"),
    ("levothyroxine", "thyroxine", "左甲状腺素", "左甲状腺素钠", "优甲乐"),
    ("sodium valproate", "valproate", "valproic acid", "丙戊酸钠", "丙戊酸"),
    ("levodopa", "L-dopa", "左旋多巴"),
    ("alteplase", "tissue plasminogen activator", "阿替普酶"),
    ("lithium carbonate", "lithium", "碳酸锂"),
    ("nifedipine", "硝苯地平", "心痛定"),
    ("metronidazole", "甲硝唑", "灭滴灵"),
    ("omeprazole", "奥美拉唑", "洛赛克"),
    ("loratadine", "氯雷他定"),
    ("amoxicillin", "阿莫西林"),
    ("warfarin", "华法林"),
    ("heparin", "肝素"),
    ("insulin", "胰岛素"),
    ("morphine", "吗啡"),
)
_LEVELS = (
    ("emergency", "emergent", "急救", "急症"),
    ("urgent", "紧急"),
    ("routine", "non-urgent", "not urgent", "常规", "择期", "非紧急", "不紧急"),
)

# Longer words with a name inside that mean nothing of its kind.
NEITHER = -1
_NEITHER = {
    "urgency": (
        "血常规", "尿常规", "便常规", "大便常规", "紧急情况", "急救电话", "routine blood", "routine test",
        "routine urine", "in an emergency", "emergency number",
    ),
}  # fmt: skip


@functools.cache
def known() -> dict[str, Lexicon]:
    """The names of each of KINDS, in both languages."""
    made = {kind: Lexicon() for kind in KINDS}
    for kind, groups in (("department", _DEPARTMENTS), ("drug", _DRUGS), ("urgency", _LEVELS)):
        for names in groups:
            made[kind].add(map(plain, names))
    for kind, names in _NEITHER.items():
        made[kind].add(names, NEITHER)
    rows = facts.load() if facts.PATH.is_file() else []
    for row in rows:
        names = [row["zh"], row["en"], *row["aliases_zh"], *row["aliases_en"]]
        made["diagnosis"].add(plain(name) for name in names if not name.startswith("a "))
        for kind in ("department", "drug"):
            names = [plain(row[f"{kind}_zh"]), plain(row[f"{kind}_en"])]
            _join(made[kind], names, names)
    for row in rows:
        names = [plain(row["mimic"]["zh"]), plain(row["mimic"]["en"])]
        _join(made["diagnosis"], names, names)
    return made


def _join(lexicon: Lexicon, names: list[str], by: list[str]) -> None:
    """Add names to the entity that the names in `by` mean, or to a new one."""
    there = set().union(*(lexicon.entities(name) for name in by))
    lexicon.add(names, min(there) if there else None)


def with_more(groups: Iterable[tuple[str | None, list[str]]]) -> dict[str, Lexicon]:
    """The known names and further groups of names that mean the same; a group without a kind is known in every kind.

    A kind that has no table of its own (`sign`, `organism`) gets one from its groups. The first name of a group says
    what it is: two conditions may share an alias and stay two.
    """
    made = {kind: lexicon.merged(())[0] for kind, lexicon in known().items()}
    shared = [list(map(plain, names)) for kind, names in groups if kind is None]
    for kind, names in groups:
        if kind is not None:
            _join(made.setdefault(kind, Lexicon()), list(map(plain, names)), [plain(names[0])])
    made.setdefault("", Lexicon())
    for names in shared:
        for lexicon in made.values():
            _join(lexicon, names, names[:1])
    return made


def read(path: str) -> list[tuple[str | None, list[str]]]:
    """The groups of a user's alias file: JSON or JSON lines of `{"name": "...", "aliases": ["..."]}`, `kind` if known.

    DataError names the line that is something else.
    """
    if not Path(path).is_file():
        raise DataError("E_FILE", path, 'no such file; expected rows {"name": "...", "aliases": ["..."]}')
    text = Path(path).read_text(encoding="utf-8-sig")
    try:
        rows = json.loads(text)
        rows = list(enumerate(rows if isinstance(rows, list) else [rows], 1))
    except ValueError:
        rows = [(number, _line(path, number, line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_group(path, number, row) for number, row in rows]


def _line(path: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError("E_JSON", f"{path}:{number}", f"{error}; expected one JSON object a line") from None


def _group(path: str, number: int, row: Any) -> tuple[str | None, list[str]]:
    if isinstance(row, dict):
        aliases, kind = row.get("aliases", []), row.get("kind")
        names = [row.get("name"), *aliases] if isinstance(aliases, list) else [None]
        if all(isinstance(name, str) and name.strip() for name in names) and (kind is None or isinstance(kind, str)):
            return kind, names
    wanted = 'expected {"name": "...", "aliases": ["..."]}, and "kind" where names of one kind only are meant'
    raise DataError("E_FIELD", f"{path}:{number}", wanted)
