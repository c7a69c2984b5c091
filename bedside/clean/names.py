"""Names of people and where they live, found by the words that introduce them.

A Chinese name is a family name and one or two characters more; many family names are also words of medicine (the one
that means "tall" begins the word for hypertension). So a name is believed only where something introduces it and
something ends it, and never if it begins a word of illness.
"""

import re
from collections.abc import Iterator

from bedside.clean.identifiers import Span

_SURNAMES = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章苏潘葛范彭郎鲁韦昌马苗凤方俞任袁柳鲍史唐"
    "费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于傅皮卞齐康伍余元顾孟平黄穆萧尹姚邵汪祁毛禹狄臧戴宋茅庞熊纪舒屈项祝董梁杜阮蓝闵季贾"
    "路江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万柯卢莫房解应宗丁宣邓洪包左石崔龚程邢裴陆荣翁荀甄曲封储靳段焦侯班仇祖武符刘"
    "景詹龙叶黎白蒲赖卓屠池乔闻党翟谭劳申冉桑桂牛寿边燕尚温庄晏柴瞿阎连习艾容向古易廖庾终耿满匡国文寇广东欧沃关师巩聂晁敖融"
    "冷辛简饶曾沙养鞠丰巢游竺权盖益桓佟肖岳仲闫涂覃邰邸苑仝代车肇谷丛隋门"
)
_DOUBLE = "欧阳|司马|上官|诸葛|夏侯|皇甫|尉迟|公孙|慕容|令狐|宇文|长孙|司徒|端木|东方|南宫"
# Characters that no given name holds, but words after a family name do: illness, body, function words, numbers.
_NOT_GIVEN = (
    "的了着过是有无在把被和与或及也都就还又很太不没未曾已将要会能可去来到说问看吃喝服用做病症痛疼热烧炎癌瘤肿胀疹痒咳喘血压糖脂尿"
    "便泻吐呕晕昏麻木疮疸斑癜癣痘痰涕汗渴饿胃肝肾肺肠胆脾骨胸腹背腰腿脚手头眼耳鼻喉口齿牙舌皮肤孕产乳毒菌药片针术诊疗科院医"
    "护者人员们某岁男女性别年月日时天周个次每何谁什么怎样多少老幼童龄您你我他她它体肥瘦胖弱差伴史因于从对向给让请为此该其如若但"
    "而且以所之及电话家住叫呼救号码详密填写略"
)
_HAN = "\u4e00-\u9fff"
_GIVEN = f"(?![{_NOT_GIVEN}])[{_HAN}]"
_NAME = rf"(?:(?:{_DOUBLE})(?:{_GIVEN}){{1,2}}|[{_SURNAMES}](?:{_GIVEN}){{1,2}})"
_END = r"(?=[，,。.；;、:：！!？?）)\s]|$)"
_PERSON = r"(?=[，,、（(\s]{0,2}(?:男|女|\d{1,3}\s?(?:周岁|岁|个月)|先生|女士|因|于\s?\d|，?性别|，?年龄))"
_WORDS = re.compile(
    "^(?:高血|高热|高烧|高龄|高危|黄疸|黄染|黄体|白带|白血|白癜|白内|白领|麻疹|水肿|石淋|康复|安静|安全|安康|安胎|平素|平时|平常|平卧|平稳|平安"
    "|常年|常有|常常|常规|严重|花粉|温度|温热|连续|应该|应用|广泛|满意|关节|包块|包皮|钟点|金葡|左侧|左右|左上|左下|左膝|成年|成人|全身|"
    "经常|曾经|方便|解放|解决|容易|东西|国内|文化|师傅|游走|习惯|终于|终末|明显|武汉|广东|广州|温州|江苏|江西|昌平|国家|安徽|向来|路上)"
)
_ZH_NAMES = (
    re.compile(rf"(?:患者|病人|病员|患儿|伤者|产妇|孕妇)(?:姓名)?[:：是为\s]{{0,2}}({_NAME}){_PERSON}"),
    re.compile(
        rf"(?:(?:姓名|名字|联系人|家属签名|签名|监护人)\s?[:：]\s?|(?:患者|病人|我的|本人)(?:姓名|名字)[是为叫])"
        rf"({_NAME}|[{_SURNAMES}](?:{_GIVEN}){{3}}){_END}"
    ),
    re.compile(rf"(?:姓名|名字|联系人)\s?[:：]\s?({_NAME})(?=男|女|性别|年龄|电话|\d)"),
    re.compile(rf"(?:患者|病人|主治医师|主治医生|主管医生|经治医师|医师|医生|护士)\s?[:：]\s?({_NAME}){_END}"),
    re.compile(
        rf"(?:我叫|我名叫|名叫|本人叫|他叫|她叫|孩子叫|儿子叫|女儿叫|宝宝叫|我的名字是|我的名字叫)({_NAME})(?:{_END}|(?=今年|男|女))"
    ),
    re.compile(
        rf"(?:^|(?<=[，。；、！？,\s]))({_NAME})(?=(?:先生|女士|小姐)[^{_HAN}]|(?:先生|女士|小姐)[，。的您你]|(?:先生|女士)$)"
    ),
)
_CAPITAL = r"(?:[OD]['’])?[A-Z][a-z]+(?:['’-][A-Z]?[a-z]+)*"
_FULL = rf"{_CAPITAL}(?: [A-Z]\.)?(?: {_CAPITAL}){{0,2}}"
_NOT_A_NAME = "Pepper|Google|Now|Here|Please|Thank|Thanks|Note|Doctor|Patient|Unknown|Not|The|This|Is|And|Or|If|A|An|Contin|May|Will|Can|Should|Who"
_EN_NAMES = (
    re.compile(rf"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? (?!(?:{_NOT_A_NAME})\b)({_CAPITAL}(?: [A-Z]\.)?(?: {_CAPITAL})?)"),
    re.compile(rf"\bMiss (?!(?:{_NOT_A_NAME})\b)({_CAPITAL})(?=[,.;:]| (?:is|was|has|had|came|presents))"),
    re.compile(
        rf"(?i:\bpatient(?:'s|’s)? (?:full )?name|\bname of (?:the )?patient|\b(?:full|first|last) name)(?: is|\s?:)?\s?"
        rf"(?!(?:{_NOT_A_NAME})\b)({_FULL})"
    ),
    re.compile(rf"(?:^|\n)\s*(?:Name|NAME)\s?:\s?(?!(?:{_NOT_A_NAME})\b)({_FULL})"),
    re.compile(rf"\b(?i:my name is|i am called|(?:he|she) is called|(?:his|her) name is) (?!(?:{_NOT_A_NAME})\b)({_FULL})"),
    re.compile(rf"\b[Pp]atient,? ({_CAPITAL} {_CAPITAL})(?=,? (?:is )?(?:an? )?\d{{1,3}}[- ]year|,? \(?\d{{1,3}}[,)yMF ])"),
)  # fmt: skip

_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|"
    "台湾|内蒙古|广西|西藏|宁夏|新疆"
)
_STREET = rf"[{_HAN}\dA-Za-z]{{1,12}}?(?:路|街|大道|巷|弄|胡同|村|镇|乡|小区|花园|新村|苑)(?:[一二三四五六七八九东西南北中]段)?"
_HOUSE = r"[甲乙东西南北中]?\d{1,5}\s?[-—之]?\d{0,4}\s?(?:号院|号楼|号|弄|栋|幢|座|单元|室|组)(?:[-\dA-Za-z]{1,5}(?:号楼|号|栋|幢|座|层|楼|单元|室|户))*"
_AREA = rf"(?:(?:{_PROVINCES})(?:省|市|自治区)?(?:[{_HAN}]{{2,7}}?(?:市|自治州|地区))?(?:[{_HAN}]{{1,6}}?(?:区|县|旗|市))?)"
_ADDRESSES = (
    re.compile(rf"{_AREA}(?:{_STREET}){{1,3}}(?:{_HOUSE})"),
    re.compile(
        rf"(?<!医院)(?<!门诊)(?:家庭住址|家庭地址|通讯地址|联系地址|住址|地址|家住在?|现住|住在)(?:是|为|于|:|：|\s)*"
        rf"((?:{_AREA})?(?:[{_HAN}]{{2,7}}?[市县区])*(?:{_STREET}){{1,3}}(?:{_HOUSE})|{_AREA}[{_HAN}]{{1,8}}?(?:区|县|镇|村|街道|小区)(?:(?:{_STREET}){{1,2}})?)"
    ),
    re.compile(
        r"(?<![\d./-])\b\d{1,5}[A-Z]? (?:[NSEW]\.? |North |South |East |West )?(?:[A-Z][a-z]+|\d{1,3}(?:st|nd|rd|th))(?: [A-Z][a-z]+){0,2} "
        r"(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Square|Terrace|Crescent|(?:St|Ave|Rd|Blvd|Ln)\b\.?)"
        r"(?:,? (?:Apt|Apartment|Suite|Unit|Flat|#)\.? ?\w{1,5})?(?:, [A-Z][a-z]+(?: [A-Z][a-z]+)?)?(?:,? [A-Z]{2} \d{5}(?:-\d{4})?)?"
    ),
)  # fmt: skip


def find(text: str) -> Iterator[Span]:
    """Spans (kind, start, end) of names and addresses."""
    for pattern in _ADDRESSES:
        for found in pattern.finditer(text):
            yield "address", *found.span(found.lastindex or 0)
    if text.isascii():
        patterns = _EN_NAMES
    else:
        patterns = (*_ZH_NAMES, *_EN_NAMES)
    for pattern in patterns:
        for found in pattern.finditer(text):
            if not _WORDS.match(found[1]):
                yield "name", *found.span(1)
