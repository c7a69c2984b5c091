"""What speaks against a row as a whole: its length, its language, an answer to another question, a text that loops."""

import re
import zlib

from bedside.clean import folding
from bedside.clean.fields import ANSWER, DOCUMENT, QUESTION, THOUGHT, Text

_HAN_CHARS = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff]")
_LATIN_WORDS = re.compile("[A-Za-zÀ-ɏ]+")
_OTHER = re.compile("[\u0370-\u1fff\u3040-\u30ff\uac00-\ud7af]")

# Characters that say nothing about what a medical text is about.
_EMPTY = frozenset(
    "的了是我你您他她它们这那有在不也都就还又很太吗呢吧啊呀么什怎样为何哪谁几多少个次天年月日时候后前上下"
    "中里外和与或及而但如果因所以可能会要想应该需请问谢医生大夫好对来去到说看做没无已经一二三两四五六七八"
    "九十点些种般最比较更从把被让给用于并其此之者等得地着过建议情况治疗病人患题症状出现引起进行吃喝药办法"
)
_STOP_WORDS = {
    "a", "an", "the", "and", "or", "but", "if", "then", "so", "of", "in", "on", "at", "to", "for", "from", "by",
    "with", "without", "about", "as", "is", "are", "was", "were", "be", "been", "being", "am", "do", "does",
    "did", "have", "has", "had", "i", "me", "my", "you", "your", "he", "she", "it", "its", "we", "they", "them",
    "this", "that", "these", "those", "what", "which", "who", "how", "why", "when", "where", "can", "could",
    "should", "would", "may", "might", "will", "not", "no", "yes", "any", "some", "all", "more", "most", "very",
    "just", "also", "than", "too", "there", "here", "please", "doctor", "patient", "help", "need", "get", "take",
    "likely",
}  # fmt: skip
_FEWEST = 8  # distinct content units of the question, below which nothing is said
_FEWEST_IN_ANSWER = 20
_SHORTEST_LOOP = 200  # characters from which on a text is looked at for loops
_LOOP = 6.0  # a text that a compressor makes this many times smaller says the same again and again


def language(text: str) -> str:
    """`zh`, `en` or `other` by the share of each script; a Chinese character counts as much as a word.

    >>> language("血压 140/90 mmHg"), language("take 5 mg"), language("Как дела")
    ('zh', 'en', 'other')
    """
    chinese, latin, other = (len(pattern.findall(text)) for pattern in (_HAN_CHARS, _LATIN_WORDS, _OTHER))
    # Three: a Chinese word is about two characters, and Chinese medical texts are full of Latin abbreviations.
    if other > chinese + latin:
        return "other"
    if chinese + latin == 0:
        return "other"
    return "zh" if 3 * chinese >= latin else "en"


def length(texts: list[Text]) -> int:
    """Characters of the row's questions, answers and documents, without blanks at their ends."""
    return sum(len(text.text.strip()) for text in texts if text.part in (QUESTION, ANSWER, DOCUMENT))


def _content(text: str) -> set[str]:
    """Chinese characters and beginnings of words that say what a text is about."""
    found = set()
    for token in folding.tokens(text):
        if folding.is_han(token):
            if token not in _EMPTY:
                found.add(token)
        elif len(token) > 2 and token not in _STOP_WORDS:
            found.add(token[:5])
    return found


def mismatch(texts: list[Text]) -> str | None:
    """Why the last answer seems to belong to another question, or None.

    Conservative: said of an answer in another language, of one that only repeats the question, and of one that has
    not a single content character or word of a question with eight or more of them. Most wrong answers share a
    word by chance, so many pass; few right ones are named.
    """
    questions = [text.text for text in texts if text.part == QUESTION]
    answers = [text.text for text in texts if text.part == ANSWER]
    thoughts = [text.text for text in texts if text.part == THOUGHT]
    if not questions or not answers:
        return None
    question, answer = "\n".join(questions), answers[-1]
    if len(folding.tokens(answer)) >= _FEWEST and folding.bare(answer) == folding.bare(question):
        return "the answer is the question"
    of_question, of_answer = _content(question), _content("\n".join([*thoughts, *answers]))
    if len(of_question) < _FEWEST or len(of_answer) < _FEWEST_IN_ANSWER:
        return None
    if of_question & of_answer:
        return None
    asked, answered = language(question), language(answer)
    if asked != answered:
        return f"question {asked}, answer {answered}, nothing in common"
    return f"none of {len(of_question)} content words of the question in the answer"


def loops(text: str) -> float:
    """How many times the text says itself: its size by that of its compressed form; 1 for short texts.

    Ordinary prose gives 1.5 to 4, a sentence said twenty times over 10.
    """
    if len(text) < _SHORTEST_LOOP:
        return 1.0
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw, 6))


def looping(texts: list[Text], limit: float = _LOOP) -> float | None:
    """The worst `loops` of the row's texts if it is above `limit`."""
    worst = max((loops(text.text) for text in texts), default=1.0)
    return worst if worst > limit else None
