"""The fields that frames are filled with: each is made when a frame first asks for it."""

import random
from functools import cache

from bedside.synth import phrases_en, phrases_zh

PHRASES = {"zh": phrases_zh, "en": phrases_en}

# (words in the typical patient, youngest, oldest); the first match counts. Ages of babies are in months.
_BABIES = ("婴", "新生儿")
_AGES = [
    (("学龄前", "幼儿园", "托幼"), 3, 5),
    (("六月龄至五岁", "两岁", "三岁", "五岁以下", "幼儿"), 1, 4),
    (("青少年", "少年", "青春期"), 12, 17),
    (("学龄", "小学", "儿童", "孩"), 6, 11),
    (("大学生",), 18, 22),
    (("中老年",), 50, 75),
    (("老年", "绝经多年", "六十", "七十", "老人"), 62, 84),
    (("四五十", "四十", "中年", "绝经"), 41, 56),
    (("五十",), 51, 59),
    (("三十",), 29, 38),
    (("青年", "青壮年", "年轻", "二十", "育龄", "孕", "产", "妊娠", "哺乳", "停经"), 20, 35),
]
_FEMALE, _MALE = ("女", "妇", "孕", "产后", "初产", "妊娠", "哺乳", "停经", "绝经", "母"), ("男", "前列腺", "睾丸")


class Fields(dict):
    """What a frame may name: a localised row, the findings picked from it, and random trimmings. For `format_map`."""

    def __init__(self, view: dict, rng: random.Random, picked: list[int]):
        super().__init__(view)
        self.rng, self.picked = rng, picked
        self.phrases = PHRASES[view["lang"]]
        # In a view these two are lists of all findings; a frame wants those picked, joined into a sentence.
        self.all_terms, self.all_says = self.pop("terms"), self.pop("says")

    def __missing__(self, key: str) -> str:
        lower = key[0].lower() + key[1:]
        if lower != key:
            value = capital(self[lower])
        else:
            value = MAKERS[key](self)
        self[key] = value
        return value

    def choose(self, options: list):
        """One of the options; faster than random.choice, which matters at 20,000 documents a second."""
        return options[int(self.rng.random() * len(options))]

    def fill(self, frame: str) -> str:
        """The frame with its fields."""
        return frame.format_map(self)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def join(items: list[str], joints: tuple[str, str]) -> str:
    """Items as one phrase: (between, before the last)."""
    if len(items) == 1:
        return items[0]
    return joints[0].join(items[:-1]) + joints[1] + items[-1]


@cache
def patient(who: str, group: str) -> tuple[int, int, str, bool]:
    """(youngest, oldest, sexes, in months) of the typical patient, read from the words that describe one."""
    female = group == "women" or any(word in who for word in _FEMALE)
    male = any(word in who for word in _MALE)
    sexes = "f" if female and not male else "m" if male and not female else "fm"
    if any(word in who for word in _BABIES):
        return 6, 20, sexes, True
    for words, low, high in _AGES:
        if any(word in who for word in words):
            return low, high, sexes, False
    return (1, 9, sexes, False) if group == "child" else (25, 60, sexes, False)


def _person(fields: Fields) -> str:
    low, high, sexes, months = patient(fields["who_zh"], fields["group"])
    age = low + int(fields.rng.random() * (high - low + 1))
    adult = age >= 18 and not months
    female = fields.choose(sexes) == "f"
    sex = fields.phrases.PERSONS[("woman" if adult else "girl") if female else ("man" if adult else "boy")]
    frame = fields.phrases.PERSON_MONTHS if months else fields.phrases.PERSON
    article = "an" if age in (8, 11, 18) or 80 <= age < 90 else "a"
    return frame.format(article=article, age=age, sex=sex)


def _span(fields: Fields) -> str:
    phrases = fields.phrases
    spans = {"emergency": phrases.SPANS_ACUTE, "urgent": phrases.SPANS, "routine": phrases.SPANS_SLOW}
    return fields.choose(spans[fields["urgency_level"]])


def _pairs(fields: Fields) -> str:
    pair = fields.phrases.PAIR
    # Two or three pairs are enough for one sentence.
    texts = [pair.format(say=fields.all_says[i], term=fields.all_terms[i]) for i in fields.picked[:3]]
    return fields.phrases.PAIR_JOIN.join(texts)


def _terms(fields: Fields, picked: list[int]) -> str:
    return join([fields.all_terms[i] for i in picked], fields.choose(fields.phrases.TERM_JOINS))


def _says(fields: Fields, picked: list[int]) -> str:
    return join([fields.all_says[i] for i in picked], fields.choose(fields.phrases.SAY_JOINS))


MAKERS = {
    "terms": lambda f: _terms(f, f.picked),
    "says": lambda f: _says(f, f.picked),
    "term_first": lambda f: f.all_terms[f.picked[0]],
    "term_rest": lambda f: _terms(f, f.picked[1:]),
    "say_first": lambda f: f.all_says[f.picked[0]],
    "say_rest": lambda f: _says(f, f.picked[1:]),
    "pairs": _pairs,
    "points": lambda f: f.fill(f.choose(f.phrases.POINTS)),
    "alias": lambda f: f.choose(f["names"]),
    "when": lambda f: f.choose(f.phrases.URGENCY[f["urgency_level"]]),
    "level": lambda f: f.phrases.LEVEL[f["urgency_level"]],
    "urgency": lambda f: f.choose(f.phrases.THOUGHT_URGENCY[f["urgency_level"]]),
    "person": _person,
    "span": _span,
    "bed": lambda f: str(1 + int(f.rng.random() * 40)),
    "day": lambda f: str(2 + int(f.rng.random() * 6)),
}
