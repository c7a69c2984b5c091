"""Answers of yes or no, in both languages, read from the statement that the answer makes. 1 or 0."""

import re
from typing import Any

import bedside.rewards.statements as statements
from bedside.rewards.completion import Completion, answer, asked, plain

_YES = {"yes", "true", "y", "是", "是的", "对", "正确", "有", "会", "能", "可以", "需要", "属于"}
_NO = {
    "no",
    "false",
    "n",
    "否",
    "不是",
    "不",
    "错",
    "错误",
    "没有",
    "无",
    "不会",
    "不能",
    "不可以",
    "不需要",
    "不属于",
}
_WORD_EN = re.compile(r"\W*(yes|yeah|true|no|nope|false)\b(?=\s*(?:[,.!;:\n(]|-\s|$))", re.IGNORECASE)
_FIRST_EN = re.compile(
    r"\W*(yes|no)\b(?! (?:or|and)\b)(?=\s+(?:it|this|that|there|because|he|she|they|you|the)\b)", re.IGNORECASE
)
_FIRST_ZH = re.compile(
    r"[\s\"'“]*(?:(?P<no>不是|不会|不能|不可以?|不属于|不包括|不需要|不用|不算|不(?!清楚|知道|确定|明确|明|好说|一定|了解)|否|没有|无需|并不|并非|非|错误?)"
    r"|(?P<yes>是的|是(?!否|不是|或)|对(?!于)|正确|会(?!不会)|属于|包括|可以(?!不)|能(?!不能|否)|需要|应该"
    r"|有(?!没有|无)))"
)
_EITHER = re.compile(
    r"\byes (?:or|and|/) ?no\b|\byes/no\b|\bno or yes\b|是[或/、和]否|是与否|是不是|是否|对错", re.IGNORECASE
)
_FORBIDDEN = re.compile(
    r"(?<!not )(?<!no )(?<!not a )(?<!not an )\bcontra-?indicat|\b(?:should|must|can|may)(?: ?not"
    r"|n't) (?:be )?(?:use|give|take|prescribe)"
    r"|\brul(?:e|es|ing) (?:it )?out\b(?<!not rule out)|\bavoid"
    r"|(?<!不)(?:是|属于|为|有|算|列为)[^，。不非]{0,20}禁忌|禁忌[^，。]{0,12}(?<!不)包括|禁用|忌用|(?:不能"
    r"|不可以?|不宜|不应|避免)(?:使用|用|服用|应用)",
    re.IGNORECASE,
)
_ALLOWED = re.compile(
    r"\bnot (?:an? )?(?:absolute |known )?contra-?indicat|\bno contra-?indicat|\bnot rule out|n't rule out"
    r"|\b(?:can|may)(?: safely| still)? be (?:used|given|taken)|\bis safe\b"
    r"|不(?:是|属于|算|为|构成|在)[^，。]{0,20}禁忌|并?非[^，。]{0,12}禁忌|[没无]有?禁忌"
    r"|禁忌[^，。]{0,12}不包括|(?<!不)(?:可以?|能)(?:使用|服用|应用)",
    re.IGNORECASE,
)


def applies(gold: dict[str, Any]) -> bool:
    """True if the right answer is a yes or a no."""
    return truth(str(gold.get("answer") or "")) is not None


def truth(text: str) -> bool | None:
    """What a bare word of the data says."""
    word = plain(text).strip(" .。!！").lower()
    return True if word in _YES else False if word in _NO else None


def score(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float | None:
    """1 if the answer says what gold says, else 0; None where gold is neither yes nor no."""
    right = truth(str(gold.get("answer") or ""))
    if right is None:
        return None
    text = statements.own_words(answer(completion), plain(asked(messages)))
    return float(read(text, gold.get("kind") == "contraindication") is right)


def read(text: str, about_use: bool = False) -> bool | None:
    """What a plain text says: yes, no, or None where it says neither or both.

    >>> read("Not known."), read("No, it can be given."), read("不会"), read("会")
    (None, False, False, True)
    """
    if final := statements.last(text, statements.FINAL):
        told = _word(text[final.marker : final.end])
        if told is not None:
            return told
    # What repeats the question states nothing.
    sentences = [
        one for one in re.split(r"[。；;：:\n]|[.!](?=\s|$)", text) if one.strip() and not _EITHER.search(one)
    ]
    said = [_word(sentence) for sentence in sentences]
    first = said[0] if said else None
    if first is None and about_use:
        return _about_use("\n".join(sentences))
    # "Yes. ... No.": what a later sentence says in one word must not be the opposite
    bare = {truth(sentence) for sentence in re.split(r"[。；;，,\n.!]", text)} - {None}
    return None if first is not None and (not first) in bare else first


def _word(sentence: str) -> bool | None:
    """The yes or no that a sentence begins with."""
    for pattern in (_WORD_EN, _FIRST_EN):
        if found := pattern.match(sentence):
            return found[1].lower() in ("yes", "yeah", "true")
    if found := _FIRST_ZH.match(sentence):
        return found["yes"] is not None
    return None


def _about_use(text: str) -> bool | None:
    """Whether a text forbids a drug (yes, it is a contraindication) or allows it."""
    allowed = bool(_ALLOWED.search(text))
    forbidden = bool(_FORBIDDEN.search(_ALLOWED.sub(" ", text)))
    return None if allowed == forbidden else forbidden
