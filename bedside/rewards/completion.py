"""What a policy wrote, and its answer as plain text: after the thought, width and markup apart."""

import re
import unicodedata
from typing import Any, NamedTuple

from bedside import thoughts

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
# Signs with several code points and one meaning.
_SIGNS = str.maketrans({
    "‘": "'", "’": "'", "ʼ": "'", "′": "'", "“": '"', "”": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-",
    "−": "-", "－": "-", "～": "~", "〜": "~", "⁄": "/", "∕": "/", "\u3000": " ", "\u00a0": " ",
    "\u200b": None, "\u200c": None, "\u200d": None, "\ufeff": None, "\r": "\n", "\t": " ", "\u2028": "\n",
})  # fmt: skip
_BOXED = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_TAG = re.compile(r"</?(?:answer|final|final_answer|b|i|strong|em|br|p)\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(r"\*+|`+|(?m:^[ \t]*#{1,6} )|\\[\[\]()]|\$+|(?<!\w)__?|__?(?!\w)")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")


class Completion(NamedTuple):
    """A sampled completion: text without special tokens, starting after the prompt.

    `finished`: a stop token ended it; `opened`: the prompt ended in an open `<think>`; `tokens`: how many were
    sampled (0: not counted).
    """

    text: str
    finished: bool
    opened: bool = False
    tokens: int = 0


def parts(completion: Completion) -> thoughts.Parts:
    """Thought and answer; a completion that ended inside its thought has no answer."""
    return thoughts.parse(completion.text, completion.opened)


def answer(completion: Completion) -> str:
    """The answer as plain text; a name inside the thought is no answer."""
    return plain(parts(completion).answer)


def plain(text: str) -> str:
    """The text with one width, one kind of quote and dash, no accents and no markup.

    >>> plain("**Ｂ**，Ménière’s  10⁹")
    "B，Meniere's  10^9"
    """
    text = _RAISED.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), text).translate(_SIGNS)
    # Chinese punctuation keeps its width: "，" ends a clause in places where "," ends a group of digits.
    pieces = (
        piece if piece in "，。；：！？（）、" else _narrow(piece)
        for piece in re.split("([，。；：！？（）、])", text)
    )
    text = _TAG.sub("\n", "".join(pieces))
    for _ in range(3):  # \boxed{\text{B}}
        text = _BOXED.sub(r"\1", text)
    return _MARKUP.sub("", text).strip()


def _narrow(text: str) -> str:
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).translate(_SIGNS)


def asked(messages: list[dict[str, Any]]) -> str:
    """The text of the last question."""
    turns = [message.get("content") or "" for message in messages if message.get("role") == "user"]
    return str(turns[-1]) if turns else ""


def has_han(text: str) -> bool:
    """True if a Chinese character stands in the text."""
    return bool(_HAN.search(text))


def language(gold: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """`zh` or `en`: what gold says, else the language of the question, else of the answer."""
    told = str(gold.get("lang") or "")[:2].lower()
    if told in ("zh", "en"):
        return told
    return "zh" if has_han(asked(messages) or str(gold.get("answer") or "")) else "en"
