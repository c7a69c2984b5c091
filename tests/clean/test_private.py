"""What is private is found, and what only looks like it is left alone; all people and numbers here are invented.

sh run_tests.sh tests/clean/test_private.py
"""

import pytest

from bedside.clean import private
from bedside.clean.fields import ANSWER, QUESTION, TOOL, Text
from bedside.clean.identifiers import valid_card, valid_id_card

PRIVATE_ZH = """phone|请打13800138000联系我|13800138000
phone|电话：139-1234-5678。|139-1234-5678
phone|手机 186 0000 1234，微信同号|186 0000 1234
phone|+86 13912345678|+86 13912345678
phone|+8613912345678可以打|+8613912345678
phone|医生您好，我的号码15012345678，盼复|15012345678
phone|致电010-62345678|010-62345678
phone|座机0755-12345678转801|0755-12345678转801
phone|（021）65432100|（021）65432100
phone|家里电话是65432100|65432100
phone|客服400-810-1234|400-810-1234
phone|联系电话：02887654321|02887654321
phone|手机号17712345678，谢谢|17712345678
phone|tel: 19912345678|19912345678
id_card|身份证号11010519491231002X。|11010519491231002X
id_card|身份证：110105194912310029？不，是11010519491231002x|11010519491231002x
id_card|旧身份证号130503670401001|130503670401001
id_card|证件440308199901100616有效|440308199901100616
bank_card|卡号6222020000000000000|6222020000000000000
bank_card|请退到4111 1111 1111 1111|4111 1111 1111 1111
bank_card|银行卡5500000000000004，工商银行|5500000000000004
email|邮箱zhang.san@example.com，谢谢|zhang.san@example.com
email|发到a_b-c@mail.example.cn即可|a_b-c@mail.example.cn
email|有资料请寄ls88@qq.example.com。|ls88@qq.example.com
account|加我微信abc_12345聊|abc_12345
account|微信号：wxid-77889|wxid-77889
account|QQ：123456789|123456789
account|我的qq号是987654321，加我|987654321
account|薇信lisi2020|lisi2020
account|VX：doctor_li99|doctor_li99
account|微信是123456789|123456789
account|qq群 12345678|12345678
record|住院号：0012345，入院|0012345
record|病历号ZY20230001|ZY20230001
record|门诊号是88123456|88123456
record|病案号 B-778899|B-778899
record|就诊卡号：5566778899|5566778899
record|医保卡号 A123456789|A123456789
record|登记号000123456|000123456
birth|出生日期：1985年3月12日|1985年3月12日
birth|生日是1990-01-02|1990-01-02
birth|1978年11月3日出生，男|1978年11月3日
birth|生于1965/9/9|1965/9/9
birth|出生年月：1999.12.31|1999.12.31
name|患者张三，男，45岁|张三
name|患者李小红，女|李小红
name|患者王建国 62岁|王建国
name|病人欧阳明华，男|欧阳明华
name|患儿赵小宝，3岁|赵小宝
name|姓名：陈晓明，性别：男|陈晓明
name|姓名:刘洋|刘洋
name|患者姓名：高志强|高志强
name|联系人：周婷|周婷
name|我叫李雷，今年28岁|李雷
name|大夫您好，我叫孙悦。|孙悦
name|她叫韩梅梅，头痛|韩梅梅
name|我的名字是吴倩，想咨询|吴倩
name|主治医师：钱文博|钱文博
name|您好，王丽华女士，您的报告|王丽华
name|患者：黄海波，入院|黄海波
name|患者何文（女，33岁）|何文
name|孩子叫郑小宇，今年5岁|郑小宇
name|患者马超因咳嗽入院|马超
address|家住北京市海淀区中关村大街27号|北京市海淀区中关村大街27号
address|住址：江苏省南京市鼓楼区汉口路22号3栋501室|江苏省南京市鼓楼区汉口路22号3栋501室
address|地址：上海市徐汇区漕溪北路331号|上海市徐汇区漕溪北路331号
address|我住在广东省深圳市南山区科技园路8号|广东省深圳市南山区科技园路8号
address|现住浙江省杭州市西湖区文三路100号2单元|浙江省杭州市西湖区文三路100号2单元
address|寄到四川省成都市武侯区人民南路四段11号吧|四川省成都市武侯区人民南路四段11号
address|家住山东省济南市历下区|山东省济南市历下区"""

PRIVATE_EN = """phone|call me at (555) 123-4567 please|(555) 123-4567
phone|my number is 555-123-4567.|555-123-4567
phone|Phone: 415.555.0132|415.555.0132
phone|+1 212-555-0199 any time|+1 212-555-0199
phone|1-800-555-0100|1-800-555-0100
phone|+44 20 7946 0958|+44 20 7946 0958
phone|reach us on +61 491 570 006|+61 491 570 006
phone|tel 02079460000|02079460000
phone|telephone: 5551234567|5551234567
phone|mobile 07700900123|07700900123
phone|phone number is 6175550188|6175550188
phone|+49 30 901820 55|+49 30 901820 55
email|write to john.smith@example.com today|john.smith@example.com
email|jane+clinic@mail.example.org|jane+clinic@mail.example.org
email|E-mail: A.Jones@Example.co.uk|A.Jones@Example.co.uk
email|<bob@example.net>|bob@example.net
bank_card|card 4111111111111111 expires|4111111111111111
bank_card|pay with 5500-0000-0000-0004|5500-0000-0000-0004
bank_card|Amex 378282246310005|378282246310005
account|WeChat: johnny_2020|johnny_2020
account|my wechat id is drsmith88|drsmith88
account|QQ 123456789|123456789
record|MRN: 00123456|00123456
record|MRN 778899|778899
record|Medical record number: A-1234567|A-1234567
record|medical record no. 445566|445566
record|Patient ID: P1234567|P1234567
record|Hospital number 9988776|9988776
record|chart number: 20391|20391
record|insurance ID ABC123456|ABC123456
birth|DOB: 03/12/1985|03/12/1985
birth|D.O.B. 12-11-1960|12-11-1960
birth|date of birth: March 12, 1985|March 12, 1985
birth|Date of Birth 1985-03-12|1985-03-12
birth|born on 12 March 1985|12 March 1985
birth|She was born on July 4th, 1976|July 4th, 1976
birth|born 4 Jan 1990 in Leeds|4 Jan 1990
birth|birthday is Dec. 25, 2001|Dec. 25, 2001
name|Mr. Smith has a cough|Smith
name|Mrs. Jane Doe was admitted|Jane Doe
name|Ms. O'Connor called|O'Connor
name|Dr. Brown advised rest|Brown
name|Dr Emily Clark saw him|Emily Clark
name|Prof. Lindqvist agreed|Lindqvist
name|seen by Dr. John A. Miller yesterday|John A. Miller
name|Miss Taylor presents with fever|Taylor
name|Patient name: John Smith|John Smith
name|patient's name is Mary Jones|Mary Jones
name|Name of patient: Ali Hassan|Ali Hassan
name|Name: Peter Parker\\nAge: 20|Peter Parker
name|My name is Anna and I am 30|Anna
name|Hello, my name is Robert Green.|Robert Green
name|full name: Maria Lopez|Maria Lopez
name|She is called Grace|Grace
name|His name is Tom Baker|Tom Baker
name|patient John Carter, a 45-year-old man|John Carter
name|Patient Susan Wells is a 60-year-old|Susan Wells
name|First name: Olga|Olga
name|Mr Kowalski-Nowak slept|Kowalski-Nowak
address|lives at 12 Baker Street, London|12 Baker Street, London
address|221 North Elm Avenue, Apt 5, Boston, MA 02115|221 North Elm Avenue, Apt 5, Boston, MA 02115
address|home: 45 Oak Road|45 Oak Road
address|9 Maple Drive, Springfield|9 Maple Drive, Springfield
address|1600 Park Blvd., Suite 20|1600 Park Blvd., Suite 20
address|77 5th Ave, New York, NY 10003|77 5th Ave, New York, NY 10003"""

HARMLESS_ZH = """患者高血压，女，60岁
患者高热，男，30岁
患者高龄，男性
患者白血病3年
患者成年男性，45岁
患者女，45岁
患者男，因胸痛入院
患者老年女性，70岁
患者黄疸，男，50岁
患者平素体健，男，40岁
患者水肿2周
患者何时可以出院？
患者麻木，女，55岁
患者严重腹泻，3岁
患者安静，男
患者温度38.5度
患者常年咳嗽，男，66岁
患者康复后，女
患者包块，女，36岁
患者曾有胃溃疡，男
患者于2019年手术
患者应该多喝水
患者经常头晕，女
患者任何不适请就诊
患者花粉过敏，女，22岁
患者时常胸闷，男
患者方便时复查
我叫了救护车
我叫车去医院
我叫不出名字
医生叫我复查
姓名：不详
姓名：保密
药品名称：阿莫西林
名字：无
血压140/90mmHg，心率13次
剂量0.5g，每日3次，共1500mg
白细胞13.8×10^9/L
血小板138000
肌酐13812345.67
HIV RNA 13800138000拷贝
批准文号国药准字H20013800
国药准字Z13020138
超过13800138000.5个单位
病程1985年至1990年
2020年3月12日入院
1990年确诊糖尿病
检查日期：2021-05-06
生日前后发病
请拨打120
急救电话120或110
热线12320
电话咨询
微信公众号
加微信咨询
QQ咨询
住院号码不清楚
病历本带好
门诊时间8:00-17:00
口服1-2片，每日2-3次
比例1:1000
体温36.5-37.2℃
尿蛋白+++
CA125 35U/ml，CA199 37
CD4 350/ul
参考值3.9-6.1mmol/L
维生素B12 500ug
地址不方便透露
住在三楼，上楼胸闷
住在医院里
走路一号楼
家住农村
北京协和医院
上海市第六人民医院骨科
去市区的大医院
医院地址：请看官网
高医生您好
王主任说没事
李大夫在吗
张女士
于是医生建议
江苏的冬天冷
武汉疫情期间
编号12345678901234567
11010519491231002
110105194912310021
6222020000000000001
1234567890123456
ICD-10：J18.9
患者金某，女，30岁"""

HARMLESS_EN = """Take 500 mg every 8 hours, at most 4000 mg
BP 120/80, HR 72, SpO2 98%
Glucose 126-200 mg/dL
ratio 1:1000 epinephrine
pH 7.35-7.45, pCO2 35-45
WBC 13,800/mm3
NCT01234567
PMID 12345678
doi 10.1000/182
CAS 50-78-2
ICD-10 J18.9 and E11.65
call 911 at once
dial 112 or 999
In 2019-2020 the disease spread
seen on 2021-05-06
admitted March 12, 2021
since 1985
born in 1985
The newborn weighed 3500 g
born at 38 weeks
patient presents with fever
The patient has Bell's palsy
Patient Health Questionnaire score 12
Patient Education is important
patient, 45 years old
My name is not important
brand name: Tylenol
generic name: Ibuprofen
drug name: Aspirin
Name: unknown
trade name Lipitor
Dr. will see you
MS Contin 30 mg
Ms Contin
multiple sclerosis (MS) Patients
Miss a dose
Missed doses
Prof. of medicine
Dr Pepper
Parkinson disease and Hodgkin lymphoma
Crohn's disease
Cushing syndrome
Apgar 9 at 5 minutes
Glasgow Coma Scale 15
12 Lead ECG
2 Way catheter
5 Drive pressure
Grade 3 Street drugs
Main Street Clinic
the road to recovery
10 ml/kg/h
0.9% saline 1000 ml
100-200-300 units
Vitamin B12 1000 mcg
HbA1c 7.2%
hCG 25,000 mIU/mL
T 38.5 C
CD4 350 cells
email us
contact your doctor by phone
phone 24 hours a day
record your blood pressure
medical record review
chart review of 120 patients
hospital number of beds
insurance ID card
the patient ID is needed
1234 5678 9012 3456
4111111111111112
version 1.2.3.4
creatinine 1.2 mg/dL (ref 0.6-1.2)
WeChat is popular
QQ interval
Her name is unknown
the name of the drug
May 5, 2020 visit
Q 12 h"""


def rows_of(table: str) -> list[list[str]]:
    return [line.replace("\\n", "\n").split("|") for line in table.splitlines()]


@pytest.mark.parametrize(("kind", "text", "value"), rows_of(PRIVATE_ZH) + rows_of(PRIVATE_EN))
def test_private_data_is_found_whole(kind, text, value):
    assert [(found, text[start:end]) for found, start, end in private.find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", HARMLESS_ZH.splitlines() + HARMLESS_EN.splitlines())
def test_what_only_looks_private_is_left_alone(text):
    assert [(kind, text[start:end]) for kind, start, end in private.find(text)] == []


def test_there_are_sixty_of_each_kind_in_each_language():
    assert min(len(table.splitlines()) for table in (PRIVATE_ZH, PRIVATE_EN, HARMLESS_ZH, HARMLESS_EN)) >= 60


def test_the_same_value_has_the_same_mask_within_a_row():
    texts = [
        Text(("ask",), QUESTION, "我叫张小明，电话13800138000，备用13900139000。"),
        Text(("answer",), ANSWER, "张小明您好，我会打138-0013-8000，不行就打13900139000。"),
    ]
    masked, counts = private.mask(texts)
    assert [text.text for text in masked] == [
        "我叫[姓名]，电话[电话]，备用[电话2]。",
        "[姓名]您好，我会打[电话]，不行就打[电话2]。",
    ]
    assert counts == {"name": 2, "phone": 4}


def test_masks_are_in_the_language_of_the_row():
    texts = [
        Text(("q",), QUESTION, "My name is Anna Bell, mail anna@example.com"),
        Text(("a",), ANSWER, "Anna Bell, rest."),
    ]
    assert [text.text for text in private.mask(texts)[0]] == ["My name is [NAME], mail [EMAIL]", "[NAME], rest."]


@pytest.mark.parametrize("line", PRIVATE_ZH.splitlines() + PRIVATE_EN.splitlines())
def test_a_masked_text_has_nothing_left_to_mask(line):
    masked, _ = private.mask([Text(("text",), QUESTION, line.split("|")[1].replace("\\n", "\n"))])
    assert private.find(masked[0].text) == []


def test_a_tool_is_looked_into():
    assert private.in_tools([Text(("messages", 2, "content"), TOOL, '{"phone": "13800138000"}')])
    assert not private.in_tools([Text(("text",), QUESTION, "13800138000")])


@pytest.mark.parametrize(
    ("number", "valid"),
    [("11010519491231002X", True), ("110105194913310029", False), ("110105194912310020", False)],
)
def test_an_identity_card_has_a_date_and_a_check_character(number, valid):
    assert valid_id_card(number) is valid


def test_a_card_number_passes_luhn():
    assert [valid_card(n) for n in ("4111 1111 1111 1111", "4111111111111112", "0000000000000000")] == [
        True,
        False,
        False,
    ]
