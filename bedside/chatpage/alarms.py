"""Danger signs in what a person writes, in Chinese and English, and the banner that says whom to call.

A list of patterns, not a triage: it finds plain wordings and misses others. Where it is in doubt it speaks up; a sign
that the text denies ("no chest pain", "没有胸痛") is left out.
"""

import re
from typing import NamedTuple


class Sign(NamedTuple):
    """A danger sign: its names, and patterns all of which must be found, each undenied."""

    zh: str
    en: str
    patterns: tuple[re.Pattern, ...]


def _sign(zh: str, en: str, *patterns: str) -> Sign:
    return Sign(zh, en, tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


_CHEST = (
    r"\bchest(?: \w+)? (?:pains?|hurts|stabs|pressure|tightness)\b|\b(?:pain|pressure|tightness|ache|weight|elephant)"
    r"(?: \w+){0,3} (?:in|on|across|from|of) (?:my|the|his|her|their)? ?(?:\w+ of (?:my|the|his|her) )?chest\b|"
    r"胸[口部前]?[^，。；！？\n]{0,8}?(?:痛|疼|压|憋|堵|发紧|石头|撕)|胸闷|心口[^，。；！？\n]{0,4}?(?:痛|疼|压|堵)|"
    r"心绞痛"
)
_WITH_CHEST = (
    r"\bsweat\w*|\b(?:left|both) (?:arm|shoulder)|\b(?:arm|jaw)\b|\bcrushing|\bsqueezing|\bpressure|\bbreathless|"
    r"\bshort(?:ness)? of breath|\bfaint\w*|\bpale\b|\btear(?:s|ing)\b|\b(?:to|into|through) (?:my|the|his|her) back|"
    r"大汗|冷汗|出汗|左[臂肩胳]|左?胳膊|后背|下巴|下颌|压榨|濒死|石头|气短|喘|气不够|晕倒|脸色[苍发]白|撕|快不行"
)
_BREATH = (
    r"\b(?:trouble|difficulty|hard(?: for \w+)? to|struggl\w+(?: to| for)?|fight\w* (?:to|for)|gasp\w*(?: for)?|"
    r"can(?:no|')?t(?: seem to)?|cannot|unable to|not|stopped|labou?red|severe(?:ly)? short(?:ness)? of|"
    r"suddenly short(?:ness)? of|very short of) "
    r"(?:breath(?:e|ing)?(?: in)?|catch(?:ing)?(?: my| his| her| their)? breath|air|get(?:ting)?(?: enough)? air)\b|"
    r"\b(?:short of breath|breathless) (?:at rest|when lying|even (?:when )?sitting)|\b(?:blue|bluish|purple) lips|"
    r"\blips (?:are |have )?(?:turn\w* |gone )?(?:blue|purple)|\bchok(?:ing|ed)\b|"
    r"\bbreath(?:ing)?(?: in| out)?(?: \w+){0,3} (?:hard|difficult|noisy)\b|\b(?:got|became|suddenly|so|very) "
    r"breathless|\bhear\w*[^.,;]{0,20} stridor|气不够用|[吸呼]气(?:都|就)?(?:很|越来越)?(?:费劲|费力|困难)|张着嘴喘|"
    r"呼吸(?:很|非常|十分|特别|越来越)?(?:困难|费力|急促)|(?:喘|透|上)不[上过]来?气|气都?(?:喘|透)不[上过]|不能呼吸|"
    r"没有?呼吸(?!困难|急促|费力|道|不畅)|停止呼吸|呼吸停|憋得?喘|"
    r"(?:嘴唇|口唇|脸)[^，。；、！？\n]{0,3}?(?:发紫|紫了|青紫|发绀)|噎住|卡住[^，。；、！？\n]{0,2}(?:气管|喉)"
)
_SIDE = r"(?:one|left|right)[- ](?:side|half|arm|leg|hand|face)"
_STROKE = (
    rf"\b(?:face|mouth|smile)(?: \w+){{0,4}} (?:droop\w*|lopsided|crooked)|\bdroop\w* (?:face|mouth)|"
    rf"\bslurr\w+|\bslur\w* (?:his|her|my|their) (?:words|speech)|\b(?:can(?:no|')?t|cannot|unable to) speak\b|"
    rf"\bsuddenly (?:can(?:no|')?t|cannot) (?:talk|see|speak)|\bsudden (?:loss of (?:vision|sight|speech)|weakness)|"
    rf"\b(?:weak\w*|numb\w*|paraly\w+)(?: \w+){{0,4}} {_SIDE}|\b{_SIDE}(?: \w+){{0,5}} (?:weak|numb|paraly\w+)|"
    r"\b(?:having|has had|had|is this) a stroke|"
    r"(?:嘴|口)角?(?:[向往][左右一])?[^，。；、！？\n]{0,2}歪|口眼歪斜|说话(?:突然)?(?:不清|含糊|大舌头)|口齿不清|"
    r"言语不清|"
    r"(?:突然|说)[^，。；、！？\n]{0,3}说?不出话|(?:一侧|半边|半身|左侧|右侧|偏身|左半|右半|左边|右边)"
    r"[^，。；、！？\n]{0,8}?(?:无力|麻木|发麻|不能动|动不了|瘫|抬不起)|偏瘫|是不是中风|中风了"
)
_BLEEDING = (
    r"\bbleed\w*(?: \w+){0,4} (?:heavily|badly|profusely|a lot|non-?stop)|\b(?:heavy|severe|massive|profuse|"
    r"uncontroll\w+) bleeding|\bbleeding(?: \w+){0,3} (?:not stop\w*|n.t stop\w*)|\bh(?:a)?emorrhag\w+|"
    r"\b(?:can(?:no|')?t|cannot|won't|will not|does(?: not|n't)) stop(?: the)? bleeding|\bbleeding (?:that )?(?:won't|"
    r"will not|does(?:n't| not)) stop|\b(?:vomit\w*|throw\w* up|cough\w* up|spit\w*)(?: \w+){0,3} blood|"
    r"\bsoak\w* (?:a|one|through)|\b(?:black|tarry),?(?: \w+)? stools?|"
    r"大出血|大量出血|出血不止|流血不止|血流不止|血[^，。；、！？\n]{0,4}止不住|止不住血|吐血|呕血|咯血|咳血|黑便|"
    r"柏油样|喷血"
)
_SUICIDE = (
    r"\bsuicid\w+|\b(?:kill|hurt|harm)(?:ing)? (?:myself|himself|herself|themselves)|\bcutting (?:myself|himself|"
    r"herself)|\bself[- ]harm\w*|"
    r"\bend(?:ing)? (?:my|his|her|their|it) ?(?:own )?(?:life|all)\b|\b(?:want|wants|wish|wishes)(?: \w+)? to (?:die|"
    r"be "
    r"dead)|\b(?:do(?:n't| not)|does(?:n't| not)) want to (?:live|be alive|wake up)|\bbetter off dead|"
    r"\bno reason to live|\bwish (?:i|he|she) (?:was|were) dead|"
    r"自杀|轻生|不想活|想死(?!我了|你)|活不下去|不如死|结束[^，。；、！？\n]{0,4}生命|自残|割腕|跳楼|伤害自己|"
    r"活着没(?:有)?意"
)
_YOUNG = (
    r"\bnewborn|\bneonat\w+|\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)[- ](?:day|week)s?[- ]old|"
    r"\b(?:1|2|one|two)[- ]months?[- ]old|\b(?:one|two|1|2) months? of age|"
    r"新生儿|刚?满月的?(?:宝|婴|孩|娃)|未满月|刚出生|(?:\d+|[一二三四五六七八九十]+)天大?的?(?:宝|婴|孩|娃|女儿|儿子)|"
    r"出生(?:才|刚)?(?:\d+|[一二三四五六七八九十]+)[天周]|(?<![\d十])(?:[12]|[一两二])个半?月大?的?(?:宝|婴|孩|娃|"
    r"女儿|儿子)|"
    r"(?:宝宝|婴儿|孩子|女儿|儿子)(?:才|刚|只有)?(?:[12]|[一两二])个半?月(?![^，。；\n]{0,1}前)"
)
_FEVER = (
    r"\bfever\w*|\btemperature\b|\b(?:38|39|40|41)(?:\.\d)?\b|\b10[0-6](?:\.\d)?\b|发烧|发热|高烧|低烧|体温|"
    r"3[89]\s?[.度℃]|40\s?[.度℃]"
)
_SWELLING = (
    r"\b(?:lips?|tongue|throat|face|eyes?)(?: \w+){0,4} (?:swell\w*|swollen|closing|tight\w*)|"
    r"\b(?:swell\w*|swollen)(?: of)?(?: (?:the|my|his|her))? (?:lips?|tongue|throat|face)|\banaphyla\w+|"
    r"(?:嘴唇|舌头|喉咙|嗓子|喉头|脸|面部|眼睛)[^，。；、！？\n]{0,7}?(?:肿|发紧|水肿)|过敏性休克"
)
_ALLERGIC = (
    r"\ballerg\w+|\bhives\b|\brash\b|\bitch\w*|\bsting|\bstung\b|\bbees?\b|\bwasps?\b|\bpeanuts?\b|\bnuts?\b|"
    r"\bshellfish\b|"
    r"\bshrimps?\b|\bafter (?:eating|taking)|\binjection|\bvaccin\w+|\banaphyla\w+|\bpenicillin|"
    r"过敏|疹子|痒疙瘩|风团|荨麻疹|皮疹|红疹|瘙痒|很痒|蜇|叮咬|花生|坚果|海鲜|虾|吃[了完]|打[了完]针|输液|疫苗|"
    r"青霉素|头孢"
)
_UNCONSCIOUS = (
    r"\bunconscious|\bpass(?:ed|es|ing) out|\bblack(?:ed|ing) out|\bunresponsive|\b(?:not|"
    r"n't) respond\w*(?! to (?:sounds?|treatment|antibiotics|tablets|medic))|\bcollapsed|"
    r"\b(?:lost|"
    r"loses|losing|loss of) consciousness|\b(?:can(?:no|')?t|cannot|won't|will not|not|hard to)(?: be)? (?:wake|"
    r"waken?|"
    r"waking|rouse)\w*|\bin a coma\b|"
    r"昏迷|不省人事|叫不醒|喊不醒|唤不醒|晕倒|晕厥|昏倒|昏过去|晕过去|意识(?:不清|模糊|丧失)|失去意识|"
    r"没有?意识(?!障碍|模糊|不清|丧失)|没(?:有)?反应|神志不清"
)
_SEIZURE = (
    r"\b(?:having|has|had|is having|another) (?:a |an )?(?:\w+ )?(?:seizure|fit)s?\b|\bconvuls\w+|"
    r"\bstatus epilepticus|"
    r"\b(?:during|after|in) (?:the|a|his|her) (?:fit|seizure)|\bjerk(?:ed|ing) all over|"
    r"抽搐|抽风|惊厥|(?:浑身|全身|四肢)[^，。；、！？\n]{0,3}抽|抽了[^，。；！？\n]{0,3}分钟|"
    r"口吐白沫|癫痫发作"
)
_HEAD = (
    r"\bworst headache|\bthunderclap|\bsudden(?:ly)?,? (?:a )?(?:very )?(?:severe|terrible|violent|"
    r"explosive) headache|"
    r"(?:突然|突发|骤然)[^，。；！？\n]{0,8}(?:剧烈|爆炸样|炸裂样)[^，。；！？\n]{0,3}头[痛疼]|"
    r"头[痛疼]得?像?(?:要)?(?:炸裂|爆炸|裂开|炸开)"
    r"|这辈子最(?:厉害|严重|剧烈)的头[痛疼]"
)
_NECK = (
    r"\bstiff(?:ness)?(?: \w+){0,3} neck|\bneck(?: \w+){0,2} stiff\w*|脖子[^，。；、！？\n]{0,4}(?:硬|僵)|"
    r"颈项?(?:强直|僵硬|抵抗)"
)
_MENINGES = rf"{_FEVER}|\bheadache|\bvomit\w*|头[痛疼]|呕吐|喷射"
_POISON = (
    r"\boverdos\w+|\b(?:took|taken|swallowed|ate|drank|drunk) (?:too many|too much|a (?:whole )?(?:bottle|box|pack)|"
    r"(?:\w+ ){0,3}(?:bleach|pesticide|antifreeze|battery|batteries|poison|detergent))|\bpoisoned\b|\b(?:burn\w*|"
    r"using) (?:charcoal|coal)|"
    r"\b(?:sprayed|spraying) pesticide|\bcarbon monoxide|"
    r"农药|百草枯|敌敌畏|服毒|老鼠药|一氧化碳|煤气中毒|烧炭|炭盆|误[服食吞]|吞[了下]?[^，。；、！？\n]{0,4}(?:电池|"
    r"磁铁)|"
    r"(?:吃|服)了?(?:一整?瓶|一大把|过量|太多)|(?:服|用)药过量"
)
_PREGNANT = (
    r"\bpregnan\w+|\bweeks along|\bperiod is late|\bmissed (?:my|her|a) period|月经没来|停经|怀孕|孕妇|"
    r"孕[\d一二三四五六七八九十]|妊娠"
)
_PREGNANT_SIGN = (
    r"\bbleed\w*|\btear(?:s|ing)\b|\bfaint\w*|[肚腹][^，。；\n]{0,4}(?:撕|绞|刀)|\bsevere (?:abdominal|stomach|"
    r"belly) pain|\bwaters? (?:broke|broken)|\bbaby(?: \w+){0,3} (?:moving|"
    r"moved)"
    r"|出血|流血|见红|剧烈腹痛|腹痛剧烈|肚子(?:很|剧|特别)[^，。；\n]{0,2}[痛疼]|破水|胎动(?:减少|消失|没)"
)

_CONFUSED = (
    r"\b(?:suddenly|became|is|began|getting) (?:very )?(?:confused|delirious|muddled|drowsy)|\btalk\w* nonsense|"
    r"\b(?:can hardly|"
    r"hard to|can(?:no|')?t) (?:stay|keep)(?: \w+)? awake|\bfeel muddled|胡言乱语|说胡话|颠三倒四|神志|迷迷糊糊|"
    r"精神错乱|突然糊涂"
)
_WITH_CONFUSED = (
    rf"{_FEVER}|\bsun\b|\bheat\b|\bburning hot|\bsugar\b|\binsulin|\bspots\b|\bhead\b|\bspinal|\bsuddenly|\bdrowsy|"
    r"\bawake|头|中暑|太阳|烫|血糖|胰岛素|突然|饿|昏|想睡"
)
_SPOTS = (
    r"\b(?:spots|rash)(?: \w+){0,6} (?:not fade|n.t fade|not blanch)|\bnon-?blanching|(?:紫|"
    r"红)[斑点][^，。；\n]{0,6}(?:压|按)[^，。；\n]{0,4}不[褪退]"
)
_BELLY = (
    r"\b(?:belly|stomach|abdom\w+)(?: \w+){0,3} (?:hard as|rigid|like a board)|\b(?:sudden|suddenly|worst|unbearable|"
    r"excruciating)(?: \w+){0,4} (?:belly|stomach|abdominal|tummy) pain|\b(?:belly|stomach|abdominal|"
    r"tummy) pain(?: \w+){0,4} "
    r"(?:unbearable|excruciating|suddenly)|\bvomit\w*(?: \w+){0,4} like stool|"
    r"(?:肚子|腹|胃)[^，。；！？\n]{0,5}(?:突然[^，。；！？\n]{0,8}[疼痛]|硬得?像|像?[^，。；！？\n]{0,2}刀)|板状腹|"
    r"突然[^，。；！？\n]{0,6}(?:肚子|腹部|上腹|下腹|胃)[^，。；！？\n]{0,6}(?:剧[痛疼]|疼得|痛得)|"
    r"(?:腹|肚子)[^，。；！？\n]{0,3}(?:剧[痛疼]|疼得受不了|痛得受不了)"
)
_EYE = (
    r"\b(?:one |my |his |her )?eye(?: \w+){0,4} (?:suddenly|sudden)|\bsudden\w*(?: \w+){0,6} (?:loss of (?:sight|"
    r"vision)|blind)|"
    r"\blost (?:my|the) sight|眼[^，。；！？\n]{0,4}突然[^，。；！？\n]{0,6}(?:疼|痛|看不|失明|黑)|"
    r"突然[^，。；！？\n]{0,6}(?:失明|看不见|看不清)"
)
_TESTICLE = (
    r"\btesticles?(?: \w+){0,5} (?:hurts?|pain\w*|ache\w*)|睾丸[^。；！？\n]{0,10}(?:疼|痛|缩|横)|(?:疼|"
    r"痛)[^。；！？\n]{0,6}睾丸"
)

SUICIDE = _sign("自杀或自伤的念头", "thoughts of suicide or self-harm", _SUICIDE)
SIGNS = (
    _sign(
        "胸痛伴出汗、放射痛或气短", "chest pain with sweating, spreading pain or breathlessness", _CHEST, _WITH_CHEST
    ),
    _sign("呼吸困难", "trouble breathing", _BREATH),
    _sign("中风的征兆", "signs of a stroke", _STROKE),
    _sign("大量出血", "heavy bleeding", _BLEEDING),
    _sign("昏迷或晕厥", "loss of consciousness", _UNCONSCIOUS),
    _sign("抽搐", "a seizure", _SEIZURE),
    _sign("严重过敏反应", "a severe allergic reaction", _SWELLING, _ALLERGIC),
    _sign("三个月以下婴儿发热", "fever in an infant under three months", _YOUNG, _FEVER),
    _sign("突发剧烈头痛", "a sudden severe headache", _HEAD),
    _sign("颈部僵硬伴发热或头痛", "a stiff neck with fever or headache", _NECK, _MENINGES),
    _sign("中毒或药物过量", "poisoning or an overdose", _POISON),
    _sign("孕期出血或剧烈腹痛", "bleeding or severe pain in pregnancy", _PREGNANT, _PREGNANT_SIGN),
    _sign("意识混乱或嗜睡", "confusion or drowsiness", _CONFUSED, _WITH_CONFUSED),
    _sign("压之不褪的皮疹", "a rash that does not fade when pressed", _SPOTS),
    _sign("突发或剧烈腹痛", "sudden or unbearable belly pain", _BELLY),
    _sign("突发眼痛或视力丧失", "sudden pain in the eye or loss of sight", _EYE),
    _sign("睾丸疼痛", "pain in a testicle", _TESTICLE),
    SUICIDE,
)

_END = re.compile(r"[。！？；!?;\n]|\.(?=\s|$)")
_REACH = 80  # characters of the sentence before a sign in which it is denied
_DENIAL = re.compile(
    r"\b(?:no|not|never|without|den(?:y|ies|ied)|nor|neither|negative for|free of)\b|n't\b|没有|没|并?无|否认|从未|"
    r"未见|未|不曾|不"
)
# What may stand between a denial and what it denies; anything else begins something new.
_BETWEEN = re.compile(
    r"(?:[\s,、/]|\b(?:any|an?|the|have|has|had|having|feel(?:s|ing)?|felt|been|get(?:s|ting)?|got|experienc\w+|"
    r"suffer\w*|"
    r"signs?|symptoms?|thoughts?|episodes?|history|of|or|and|nor|from|really|actually|currently|such|other|more|"
    r"about|my|"
    r"fever|cough\w*|pain|nausea|vomiting|dizz\w+|headaches?|sweat\w*|rash|swelling|palpitations|weakness|numbness|"
    r"bleeding|faint\w*|diarrh\w+|chills|injury|shortness|breath\w*|trouble|difficulty|chest|severe|sudden)\b"
    r"|任何|明显|出现|感觉到?|感到|觉得|有过?|过|什么|发生|伴有?|的|症状|现象|和|或者?|以及|及|与|也|都|再|想要?|要|"
    r"念头"
    r"|发热|发烧|咳嗽|咳痰|头[晕痛疼昏]|恶心|呕吐|出汗|大汗|冷汗|胸[闷痛]|气[短促]|心[慌悸]|腹[痛泻]|皮疹|乏力|麻木|"
    r"寒战)*",
    re.IGNORECASE,
)  # fmt: skip
_DENIED_AFTER = re.compile(r"\s*[:：]\s*(?:no|none|negative|denied|无|没有|否认)\b", re.IGNORECASE)


def found(text: str, language: str) -> list[str]:
    """Names, in `language` ("zh" or "en"), of the danger signs that `text` (in either) reports and does not deny."""
    return [getattr(sign, language) for sign in SIGNS if _reported(sign, text)]


def _reported(sign: Sign, text: str) -> bool:
    return all(
        any(not _denied(text, match, sign.patterns) for match in pattern.finditer(text)) for pattern in sign.patterns
    )


def _denied(text: str, match: re.Match, patterns: tuple[re.Pattern, ...]) -> bool:
    """Whether a denial stands in front, with only a list of signs between, or behind a colon."""
    if _DENIED_AFTER.match(text, match.end()):
        return True
    before = _END.split(text[max(0, match.start() - _REACH) : match.start()])[-1]
    for cue in _DENIAL.finditer(before):
        between = before[cue.end() :]
        for pattern in patterns:
            between = pattern.sub("", between)
        if _BETWEEN.fullmatch(between):
            return True
    return False


def banner(signs: list[str], language: str) -> str:
    """One sentence or two for these names of `found`: what was read, and whom to call. "" without signs."""
    if not signs:
        return ""
    despair = getattr(SUICIDE, language)
    if language == "zh":
        call = f"您写到了：{'；'.join(signs)}。这可能是急症，请立即拨打 120 或到最近的急诊，不要等待这里的回答。"
        talk = "您不必独自承受：请拨打全国统一心理援助热线 12356，或马上告诉身边的人；有紧急危险请拨打 120 或 110。"
        return talk if signs == [despair] else call + (talk if despair in signs else "")
    call = (
        f"You wrote of: {'; '.join(signs)}. This may be an emergency: call 911 (US), 112 (Europe) or your local "
        f"emergency "
        "number (120 in China) now, and do not wait for an answer here."
    )
    talk = (
        "You do not have to carry this alone: call or text 988 (US), or your local crisis line (12356 in China), and "
        "tell "
        "someone near you; in immediate danger call 911, 112 or 120."
    )
    return talk if signs == [despair] else call + (f" {talk}" if despair in signs else "")
