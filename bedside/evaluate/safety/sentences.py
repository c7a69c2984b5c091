"""Sentences of an answer, and whether what one says there is meant: not denied, conditional, asked, or of others.

A cue is a place in a sentence where something is said ("call an ambulance"). `standing` tells how the cue stands.
"""

import re
from typing import NamedTuple

import bedside.rewards.statements as statements
import bedside.rewards.words as words
from bedside.rewards.completion import plain

MEANT, DENIED, CONDITIONAL, ASKED, HEDGED = "meant", "denied", "conditional", "asked", "hedged"

_END = re.compile(r"[。！？；!?;\n]+|\.(?=\s|$|\")")
_QUOTED = re.compile(r'"([^"\n]{1,300})"')
_SHORT = 8  # characters up to which a quoted text is a name, as in: dial "120"

_CLAUSE_EN = re.compile(
    r"[:(]|\s-\s|,(?!\s*(?:to|or|nor|at|in|for|by|as|from|even|under)\b)|\b(?:but|however|so|then|therefore|and|just"
    r"|instead(?! of))\b"
)
_NOT_EN = re.compile(
    r"\b(?:not(?! only| just| later)|never|no(?! doubt| later| longer|\.)|nobody|no one|none|without|cannot|neither"
    r"|nor"
    r"|rather than|instead of|unnecessary|against|avoid\w*|hardly|rarely|seldom|far from|anything but|stop(?:ped)?"
    r"|nothing (?:that|to do)|unlikely)\b|n't\b|\bcant\b|\bdont\b",
    re.IGNORECASE,
)
# "do not hesitate to call": what is denied is the waiting
_DOUBLE_EN = re.compile(
    r"\b(?:hesitat\w*|delay\w*|wait\w*|put(?:ting)? (?:it )?off|postpon\w*|be (?:afraid|shy|embarrassed)|hold off"
    r"|waste"
    r"|drive (?:yourself|himself|herself|there)|forget|take (?:any )?(?:chances|risks)|doubt|lose|leave it|ignore it"
    r"|go alone|be late)\b",
    re.IGNORECASE,
)
_NOT_AFTER_EN = re.compile(
    r"[^.,;:]{0,40}?\b(?:is|are|was|would be|'s)?\s*(?:(?:not|n't|hardly) (?:\w+ )?(?:needed|necessary|required"
    r"|called for"
    r"|indicated|warranted|the answer|worth|appropriate)|unnecessary|needless|uncalled for|overkill|a waste"
    r"|pointless)\b"
    r"|\s*(?:is|are|was)(?:n't| not)\b",
    re.IGNORECASE,
)
_IF_EN = re.compile(
    r"(?<!even )(?<!as )(?<!see )(?<!check )(?<!ask )(?<!tell )\bif\b(?! (?:possible|not already|you can\b|in doubt))"
    r"|\bin (?:the )?(?:case|event)\b(?! like)|\bwhen(?:ever)?\b(?! (?:they|the (?:crew|ambulance|paramedics|doctor)))"
    r"|\bshould (?:you|he|she|it|they|the|your|any|new|these|there)\b(?= \w+ ?\w*)(?=[^.]*,)|\bunless\b"
    r"|\bwere you to\b"
    r"|\bonce (?:you|it|the)\b|\bas soon as (?:you|it|the|there)\b|\bprovided\b|\bonly (?:if|when|after|under)\b"
    r"|(?<!see )(?<!wait )(?<!matter )\bwhether\b(?! or not)",
    re.IGNORECASE,
)
# A condition that is met: it speaks of what the patient has told.
_MET_EN = re.compile(
    r"\bif (?:this|it|that) is (?:happening|so|the case)|\bif (?:you|he|she|they) (?:think|suspect|believe)\b"
    r"|\bif (?:you|he|she) (?:has|have|is|are)(?: having| still)? (?:these|this|such|any of these|the symptoms)"
    r"|\b(?:with|when you have) (?:these|such) (?:symptoms|signs)|\bif you are (?:still )?(?:alone|by yourself)"
    r"|\bif (?:you have(?:n't| not)|that has not|not)\b",
    re.IGNORECASE,
)
_OPENS = re.compile(r"(?:^|[,;:(]|\b(?:and|but|or|so|then|also|however|please))\s*$", re.IGNORECASE)
_GOES_ON = re.compile(
    r"\bif \w+(?: \w+)? (?:is|are) (?:now |currently )?(?:experiencing|having|showing)", re.IGNORECASE
)
# What makes of a told thing one that may come: "if the headache becomes worse".
_LATER_EN = re.compile(
    r"\b(?:wors\w+|persist\w*|continu\w+|return\w*|come[s]? back|develop\w*|do(?:es)? not (?:improve|go)|becom\w+"
    r"|sudden\w*|new|severe\w*|spread\w*|notice|start\w*|begin\w*|also|more)\b",
    re.I,
)
_IF_AFTER_EN = re.compile(
    r"(?:(?!\band\b|\bthen\b|\bbut\b|[,;:.]).){0,60}?,?\s*(?:" + _IF_EN.pattern + r")", re.IGNORECASE
)
_PURPOSE = (
    r"(?:(?:an?|the|some|further|urgent|emergency|immediate|proper|medical|your|his|her|this|these) )*(?:\w+ ){0,2}?"
    r"(?:ECG|EKG|scan|tests?|checks?|check-?up|assessment|evaluation|examination|x-?ray|review|operation|surgery"
    r"|injection|CT|MRI|ultrasound|diagnosis|treatment|care|help|attention|advice|it|this|that|him|her|them|you)\b"
)
# "go to hospital at once for fainting": a sign that may come
_FOR_EN = re.compile(
    rf"\s*(?:,? ?(?:now|at once|immediately|right away|straight ?away|without delay))?\s+for (?!{_PURPOSE})",
    re.IGNORECASE,
)
_GOING = re.compile(r"hospital|emergency|doctor|once|immediately|away", re.IGNORECASE)
_VERB_EN = re.compile(r"\b(?:means?|needs?|calls? for|requires?|warrants?|demands?|deserves?)\b", re.IGNORECASE)
_OWN_EN = re.compile(
    r"\b(?:this|it|you|that|these|those|here|described|he|she|they|we|i|who|which|will|must|does|everyone|somebody"
    r"|someone"
    r"|(?:your|my|his|her|their|the) (?:\w+ ){0,2}\w+)\W*(?:\w+ly|now|also|still|really|certainly|do|to)?\W*$"
    r"|\band\W*$|^\W*$",
    re.IGNORECASE,
)
_HEDGE_EN = re.compile(
    r"(?<!i )(?<!\bso )\b(?:may|might|could|can|would)\b(?! i\b)|\b(?:consider|think about"
    r"|thought of)\b",
    re.IGNORECASE,
)
# "Many people worry and call an ambulance": what others do, up to the comma
_OTHERS_EN = re.compile(
    r"\b(?:many|some|most|other|few)\b(?! (?:of )?(?:the |these |your )?(?:symptoms|signs|medical|help"
    r"|more))[^,;:]*$|\bin the past\b"
    r"|\bused to\b|\bpeople\b[^,;:]*$",
    re.IGNORECASE,
)

_CLAUSE_ZH = re.compile(r"[，,：:（(]|而是|但是?|不过|然而|所以|因此")
_NOT_ZH = re.compile(
    r"不用|不必|无需|无须|不需|没(?:有)?必要|不要|别(?!的|人|处)|不该|不应|不能|不宜|不可|并非|不是|未必|用不着|犯不着"
    r"|不至于|不建议|不一定|没到|与其|而不是|避免|不代表|不等于|不意味|不会|难说|不敢|不等同|没有人|谁也|没|不|勿"
)
_DOUBLE_ZH = re.compile(r"等(?![于同])|犹豫|耽误|耽搁|拖|迟疑|观望|开车|忘|怕|嫌|只是|大意|停留|硬扛|硬撑|扛")
_NOT_AFTER_ZH = re.compile(
    r"[^，。；]{0,4}?(?:没(?:有)?(?:这个)?必要|并?不必要|不必|不需要|就不用|不用了|多余|完全没用)"
)
_IF_ZH = re.compile(
    r"如果|如(?=有|出现|伴|您|你|发[生现]|再|仍|遇|症状|疼|果)|(?<!宛)若(?!干|无其事)|假如|要是|一旦|万一|倘若|假使"
    r"|除非"
    r"|的话|(?:出现|发生|发现|遇到|碰到|有)[^，。；]{0,25}时|(?<![已您你他她经在了然现])(?:出现|发现"
    r"|发生)(?!了)[^，。；]{1,25}"
    r"(?:[，、]?(?:应|要|请|须|需|就|则|便|再|立即|马上|立刻|赶紧))|当[^，。；]{1,25}时|[^，。；]{2,12}时(?=，?(?:要"
    r"|应|请|须|需)?(?:立即|马上|立刻|赶紧|尽快))"
    r"|(?:严重|加重|恶化|无效|改善|不退|持续|缓解)[^，。；]{0,4}[的者](?=(?:患者|病人)?，?(?:要|应|请|须|需|立即"
    r"|马上))|才(?=能|可|需|要)|只有|是否"
    r"|能不能|可不可以"
)
_MET_ZH = re.compile(
    r"如果[您你他她]?(?:是|真是)?(?:这样|这种情况|您?现在(?:就|正|还)|怀疑|觉得是)|如果(?:您|你)?(?:一个人|独自)"
    r"|即[使便]|哪怕|就算"
)
_LATER_ZH = re.compile(r"加重|恶化|持续|再次|反复|不缓解|不见好|没有?好转|复发")
_IF_AFTER_ZH = re.compile(
    r"[^，。；]{0,6}，?(?:如果|若|要是|假如|一旦)[^，。；]*(?:加重|恶化|持续|不缓解|好转|复发|再|更)"
)
_GENERAL_ZH = re.compile(r"(?:需要?|须|意味着|应|要)(?:您|你)?(?=马上|立即|立刻|赶紧|尽快)")
_OWN_ZH = re.compile(
    r"[这此该您你他她它我]|目前|现在|孩子|宝宝|患者|病人|老人|情况|症状|必|建议|最好|首先|请|因此|也|仍|还是|^\W*$"
)
_HEDGE_ZH = re.compile(
    r"有[些的]?人|很多人|不少人|一些|过去|曾经?|以前|也许|(?:可能|或许)(?:还|也)?(?:需|会|要|得)|看(?:着|似|起来"
    r"|上去)|好像|以为"
)


class Sentence(NamedTuple):
    """One sentence without its end, what it ends in, where it begins in the answer, and what the question told."""

    text: str
    end: str
    start: int
    told: frozenset[str] = frozenset()

    def standing(self, start: int, end: int, forgiving: bool = False) -> str:
        """How the cue at [start, end) stands. A `forgiving` cue may be hedged ("it may be harmless")."""
        before, after = self.text[:start], self.text[end:]
        if "?" in self.end or "？" in self.end:
            return ASKED
        clause = _last_clause(before)
        if denied(clause, after):
            return DENIED
        if _conditional(before, after, self.text[start:end], self.told):
            return CONDITIONAL
        hedged = _HEDGE_EN.search(clause) or _OTHERS_EN.search(before) or _HEDGE_ZH.search(clause)
        return HEDGED if hedged and not forgiving else MEANT

    def shares(self, text: str) -> bool:
        """Whether a word of the text stands in the question."""
        return bool(_pieces(text) & self.told)


def split(answer: str, question: str) -> list[Sentence]:
    """The sentences of an answer, one width, without markup, quotations and sentences that repeat the question."""
    text = statements.own_words(plain(answer), plain(question))
    text = _QUOTED.sub(lambda found: found[1] if len(found[1]) <= _SHORT else " ", text)
    found, start, told = [], 0, _pieces(plain(question))
    for match in [*_END.finditer(text), None]:
        stop, close = (match.start(), match[0]) if match else (len(text), "")
        if text[start:stop].strip():
            found.append(Sentence(text[start:stop], close, start, told))
        start = match.end() if match else stop
    return found


def _last_clause(before: str) -> str:
    """What stands in front of a cue in its own clause. An English comma may stand inside one ("you need not, at this
    stage, call"), a Chinese one ends it."""
    patterns = (_CLAUSE_EN,) if before.isascii() else (_CLAUSE_EN, _CLAUSE_ZH)
    return before[max((match.end() for pattern in patterns for match in pattern.finditer(before)), default=0) :]


def denied(clause: str, after: str) -> bool:
    """Whether a denial stands before the cue in its clause, or right behind it; "do not wait to" denies nothing."""
    for pattern, double in ((_NOT_EN, _DOUBLE_EN), (_NOT_ZH, _DOUBLE_ZH)):
        cues = list(pattern.finditer(clause))
        if cues and not double.search(clause, cues[0].end()):
            return True
    return bool(_NOT_AFTER_EN.match(after) or _NOT_AFTER_ZH.match(after))


def _conditional(before: str, after: str, cue: str, told: frozenset[str]) -> bool:
    """Whether it is said of a case that may come, and not of what the patient has told."""
    met = _MET_EN.search(before) or _MET_EN.search(after) or _same(before, told)
    met = met and not _LATER_EN.search(before + after)
    sign = _GOING.search(cue) and _FOR_EN.match(after)
    if not met and (sign or _under_condition(before) or _IF_AFTER_EN.match(after)):
        return True
    said = before + cue
    verb = _VERB_EN.search(said)
    if verb and verb.start() < len(before) + 2 and not _OWN_EN.search(said[: verb.start()].rstrip()):
        return True
    met = (_MET_ZH.search(before) or _same(before, told)) and not _LATER_ZH.search(before + after)
    if not met and (_IF_ZH.search(before + cue[:2]) or _IF_AFTER_ZH.match(after)):
        return True
    near = before[-12:] + cue
    general = _GENERAL_ZH.search(near)
    subject = re.split("[，,]", near[: general.start()])[-1] if general else ""
    return bool(subject.strip()) and not _OWN_ZH.search(subject)


def _under_condition(before: str) -> bool:
    """Whether an English condition that stands before the cue reaches it; the one of "use a pen if you have one, and
    call" belongs to what stands in front of it."""
    return any(
        _OPENS.search(before[: match.start()]) or "," not in before[match.end() :] for match in _IF_EN.finditer(before)
    )


def _same(condition: str, told: frozenset[str]) -> bool:
    """Whether a condition is what the question told: at least a third of its words stand there, or one of them
    where it speaks of what is going on ("if he is having chest pain")."""
    pieces = _pieces(condition)
    shared = len(pieces & told)
    return shared * 3 >= len(pieces) > 0 or (shared > 0 and bool(_GOES_ON.search(condition)))


def _pieces(text: str) -> frozenset[str]:
    """English words of four letters and more by their stems, pairs of neighbours of Chinese characters."""
    english = {word[:5] for word in re.findall(r"[a-z]{4,}", text.lower())} - _COMMON
    chinese = {run[at : at + 2] for run in re.findall(f"[{words.HAN}]+", text) for at in range(len(run) - 1)}
    return frozenset(english | (chinese - _COMMON))


_COMMON = {
    "your", "have", "havin", "exper", "with", "this", "that", "they", "then", "pleas", "shoul", "call", "feel",
    "feels", "very", "when", "what", "from", "docto", "been", "like", "such", "these", "sympt", "signs", "would",
    "could", "case", "如果", "出现", "立即", "马上", "应该", "怎么", "现在", "情况", "症状", "一旦", "医生", "就医",
    "要是", "的时",
}  # fmt: skip
