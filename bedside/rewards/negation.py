"""Whether a text offers a name or only speaks of it: denied, excluded, compared with, feared or asked about."""

import bisect
import functools
import re

from bedside.rewards.lexicon import Mention

_REACH = 200  # characters that a word of denial is looked for in
_END = re.compile(r"[。！？；!?;\n]|\.(?=\s|$)")
_BEFORE_EN = re.compile(
    r"\b(?:not(?! only| just| merely| to be missed)|no(?! doubt| question)|cannot|never|neither|nor|without"
    r"|rather than|instead of|other than|as opposed to|unlike|unlikely|(?:less|least) likely|less of|hardly"
    r"|rul(?:e|es|ed|ing) out|exclud\w+|against|differ(?:s|ent)? from|differential(?: diagnos[ie]s)?(?: includes?)?:?"
    r"|(?:distinguish\w*|differentiat\w+|tell|told)(?: \w+)? from|mimic\w*|resembl\w+|confused with|mistaken for"
    r"|avoid\w*|contraindicat\w+|allerg\w+ to|history of|complicat\w+|versus|vs|absence of|compared (?:with|to)"
    r"|risks? of|progress\w* to|prevent\w*|if|in case of|should you (?:have|notice|get))\b:?|n't\b|\bnon-?\s*",
    re.IGNORECASE,
)
_DOUBLE_EN = re.compile(r"(?:\bnot|\bcannot|n't)(?: yet| be| safely| completely)*\s+$", re.IGNORECASE)
_EXCLUSION = re.compile(r"rul|exclu|排除|除外")
_BREAK_EN = re.compile(
    r"\b(?:but|however|it is|this is|so|therefore|hence|thus|which is|points? to|is)\b|[;,:]|\binstead\b(?! of)"
)
_BEFORE_ZH = re.compile(
    r"不是|并非|而非|而不是|不太?像|不大像|不考虑|不支持|不符合|不属于|不同于|区别于|排除|除外|否认|没有|未见|未发现"
    r"|无(?!疑|论)|未(?!来)|非(?!常)|鉴别(?:诊断)?(?:包括|有|：|:)?|不应|不能|不宜|避免|禁用|忌用|慎用|禁忌"
    r"|过敏|并发症?|继发于?"
    r"|病史|预防|防止|警惕|如果|如有|一旦|若|可能性(?:很|较|更)?小|不太可能|不大可能|不可能|不会是|别(?:是|用)|勿|而不|相比"
)
_DOUBLE_ZH = re.compile(r"(?:不能|无法|不|未能|尚不能|并不)(?:完全)?$")
_BREAK_ZH = re.compile(r"而是|但|不过|然而|最可能|更像|更符合|更支持|考虑|首选|应当?[选用]|[，；：,;:]")
_AFTER_EN = re.compile(
    r"[\s)\"']*(?:(?:is|was|are|were|seems?|appears?|looks?|ha[sv]e? been|can be|could be|would be|being)\s+)?"
    r"(?:\w+\s+){0,2}?(?:not (?:the|likely|supported|present|consistent|our|correct|right|it|a|an|indicated"
    r"|given|used)\b"
    r"|not\s*(?:[.,;]|$)|isn't|unlikely|less likely|excluded|ruled out|improbable|doesn't|does not"
    r"|contraindicated|wrong"
    r"|incorrect|false|allerg)",
    re.IGNORECASE,
)
_AFTER_ZH = re.compile(
    r"[^，。；,;、]{0,4}?(?:可能性(?:较|更|很|比较)?(?:小|低|不大)|不太可能|不大可能|不可能|不太?像|不大像"
    r"|(?:不太|不大)?不?相符"
    r"|不符合|不支持|(?<!不)(?<!不能)(?<!无法)(?:可以?|已|被)排除|已?除外|相?鉴别|相区[分别]|不考虑|不是|不对"
    r"|错误|过敏|史|禁用|忌用)"
)
_DOUBLE_AFTER = re.compile(
    r"[^，。；,;、]{0,4}?(?:不能|无法|不|未能)(?:完全)?(?:被)?(?:排除|除外)|[^.,;]{0,12}?(?:cannot|can't|not) be"
)
_LIST = re.compile(r"[\s,、/&]*(?:or|and|nor|或者?|和|与|及|以及)?\s*(?:an?|the)?\s*", re.IGNORECASE)


@functools.lru_cache(maxsize=64)
def _ends(text: str) -> tuple[int, ...]:
    return (0, *(match.end() for match in _END.finditer(text)), len(text))


def sentence(text: str, position: int) -> tuple[int, int]:
    """Where the sentence around a position begins and ends."""
    ends = _ends(text)
    after = min(bisect.bisect_right(ends, position), len(ends) - 1)
    return ends[max(0, after - 1)], ends[after]


def offered(text: str, mentions: list[Mention]) -> list[bool]:
    """For each name whether the text offers it as its own answer."""
    found: list[bool] = []
    for index, mention in enumerate(mentions):
        start, end = sentence(text, mention.start)
        start, reach = max(start, mention.start - _REACH), min(end, mention.end + _REACH)
        before, after = text[start : mention.start], text[mention.end : reach]
        denied = denied_before(before) or denied_after(after) or text[end - 1 : end] in ("?", "？")
        if not denied and index and not found[-1] and mentions[index - 1].start >= start:
            gap = text[mentions[index - 1].end : mention.start]
            # "rather than A, B or C": the list goes on, and with it what was said of its first name
            denied = bool(_LIST.fullmatch(gap)) and denied_before(text[start : mentions[index - 1].start])
        found.append(not denied)
    return found


def denied_before(before: str) -> bool:
    """Whether the words in front of a name, in its sentence, deny it."""
    for cue, stop, double in ((_BEFORE_EN, _BREAK_EN, _DOUBLE_EN), (_BEFORE_ZH, _BREAK_ZH, _DOUBLE_ZH)):
        cues = list(cue.finditer(before))
        if not cues:
            continue
        last = cues[-1]
        if stop.search(before, last.end()):
            continue
        if _EXCLUSION.search(last[0]) and double.search(before[: last.start()]):
            continue  # "cannot be excluded"
        return True
    return False


def denied_after(after: str) -> bool:
    """Whether the words behind a name, in its sentence, deny it."""
    return bool(_AFTER_EN.match(after) or _AFTER_ZH.match(after)) and not _DOUBLE_AFTER.match(after)
