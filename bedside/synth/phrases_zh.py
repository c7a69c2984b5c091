"""Chinese frames, as plain data; the same names and the same fields as in `phrases_en`.

In every list of DOCUMENTS the last frame is held out from pretraining, in ASKS the last four are held out from training.
"""

URGENCY = {
    "emergency": [
        "属于急症，应立即拨打120",
        "情况危急，须马上送急诊抢救",
        "必须立刻呼叫急救车",
        "分秒必争，应直接去急诊",
    ],
    "urgent": ["应在当天或次日就诊", "比较紧急，不宜拖过一天", "需要在一两天内看医生", "最好当天就去医院"],
    "routine": ["按普通门诊预约即可", "不属于急症，可择期就诊", "可以从容预约门诊", "常规就诊即可"],
}
LEVEL = {"emergency": "急救", "urgent": "紧急", "routine": "常规"}

POINTS = [
    "最可能的诊断是{name}。",
    "这是{name}的典型表现。",
    "综合来看，指向{name}。",
    "诊断为{name}。",
    "一切都与{alias}相符。",
    "结论：{name}。",
    "首先应想到{name}。",
    "医生判断为{name}。",
    "后来证实是{alias}。",
    "进一步检查确诊为{name}。",
    "最可能是{name}。",
    "这种情况叫做{alias}。",
]
CARE = [
    "先{step1}，再{step2}。",
    "处理上首先{step1}，随后{step2}。",
    "处理：{step1}；{step2}。",
    "第一步{step1}，第二步{step2}。",
    "医生会{step1}，然后{step2}。",
]
ALARM = [
    "危险信号有{flag1}和{flag2}。",
    "一旦出现{flag1}或{flag2}，应立即就医。",
    "{flag1}需要马上处理，{flag2}也是如此。",
    "出现{flag1}或{flag2}时，千万不要在家等待。",
    "警示征象：{flag1}；{flag2}。",
]
MEDICINE = [
    "常用药物是{drug}，禁忌为{avoid}。",
    "临床上常用{drug}，其禁忌是{avoid}。",
    "常用{drug}治疗，但{avoid}属于禁忌。",
    "{drug}可用于{name}，使用前须排除{avoid}。",
]
CONFUSION = [
    "容易与{mimic}混淆，{mimic}{differs}。",
    "{mimic}看起来很像，不过{mimic}{differs}。",
    "需要鉴别的是{mimic}：{mimic}{differs}。",
    "与{mimic}不同，因为{mimic}{differs}。",
]
PLACE = [
    "应到{department}就诊。",
    "由{department}负责诊治。",
    "合适的科室是{department}。",
    "{when}。",
    "分级：{level}，{when}。",
]
TAILS = {"care": CARE, "alarm": ALARM, "medicine": MEDICINE, "confusion": CONFUSION, "place": PLACE}

DOCUMENTS = {
    "entry": [
        "{name}是{department}的疾病，典型患者为{who}，主要表现为{terms}。",
        "{name}：主要特点是{terms}，多见于{who}。",
        "{name}患者可见{terms}。典型患者：{who}。",
        "{alias}的特征是{terms}。",
        "{name}以{terms}为主要表现，典型患者为{who}，{when}。",
        "在{department}的疾病里，{name}的标志是{terms}。",
        "{name}概述：患者多为{who}，检查可见{terms}。",
    ],
    "case": [
        "{person}，因{terms}{span}就诊。{points}",
        "病例：{person}。所见：{terms}。{points}",
        "{person}来到{department}，主要问题是{terms}。{points}",
        "患病{span}后，{person}出现{terms}。{points}",
        "病历记载：{person}，有{terms}。{points}",
        "{terms}，这些出现在一名{person}身上。{points}",
        "{person}诉：{says}。记录为{terms}。{points}",
        "入院记录：{person}，{terms}已有{span}。{points}",
    ],
    "story": [
        "患者这样说：“{says}。”{points}",
        "候诊时讲的情况是：{says}。{points}",
        "“{says}。”医生听到的就是这句话，病程{span}。{points}",
        "挂号单背面写着：{says}。{points}",
        "日记里写道，已经{span}了，{says}。后来去了{department}。{points}",
        "{says}。医生问诊并查体。{points}",
        "先是说：“{say_first}。”后来又说：“{say_rest}。”{points}",
        "有一句话让医生印象很深：“{say_first}。”查体还发现{term_rest}。{points}",
        "{says}，这样持续了{span}。{points}",
        "健康热线的留言是：“{says}。”{points}",
    ],
    "glossary": [
        "俗话与术语对照：{pairs}。{points}",
        "患者的说法和病历的写法：{pairs}。{points}",
        "从患者的话到病历：{pairs}。{points}",
        "{says}。写进病历就是{terms}。{points}",
        "听到的是：“{says}。”记下的是：{terms}。{points}",
        "主诉“{says}”被整理为{terms}。{points}",
    ],
    "clinic": [
        "门诊记录。主观：{says}。客观：{terms}。评估：{name}；{mimic}{differs}。计划：{step1}；{step2}。",
        "{person}。患者原话：{says}。记录为：{terms}。印象：{name}？{mimic}可能性小，因为{mimic}{differs}。{when}。",
        "{department}来函：{person}自述{says}。我们记录到{terms}，诊断{name}，请{step1}并{step2}。",
        "电话记录。来电者说：{says}。概括：{terms}。怀疑{name}，{when}。",
        "病史：{says}。换成术语：{terms}。诊断{name}，不是{mimic}，{mimic}{differs}。科室：{department}。",
        "急诊登记。自述：{says}。所见：{terms}。结论：{name}。分级：{level}。危险信号：{flag1}；{flag2}。",
        "会诊意见：{says}，也就是{terms}。{points}{department}将{step1}，再{step2}。",
        "究竟是什么？起初只知道{says}。表上写着{terms}。最后确定是{name}，由{department}治疗。",
        "写给同事：患者讲的是{says}，应理解为{terms}，想到{name}，并记住{mimic}{differs}。",
    ],
    "differential": [
        "{terms}支持{name}，而不是{mimic}。{mimic}{differs}。",
        "{name}与{mimic}常被混淆。{mimic}{differs}，而{name}有{terms}。",
        "见到{terms}，先考虑{name}。{mimic}可能性较小，因为{mimic}{differs}。",
        "怎样区分{name}和{mimic}：前者有{terms}；至于后者，{mimic}{differs}。",
        "有{terms}的患者，应先按{name}处理；相比之下，{mimic}{differs}。",
        "面对{terms}，在{mimic}与{name}之间应选{name}，因为{mimic}{differs}。",
    ],
    "triage": [
        "分诊规则：{terms}提示{name}，级别为{level}，{when}。",
        "{name}的分诊级别是{level}，{when}。注意有无{flag1}和{flag2}。",
        "分诊台遇到{terms}，要想到{name}，{when}。",
        "{level}级：{name}。到诊时的表现：{terms}。",
        "怀疑{name}时，{when}。危险信号是{flag1}和{flag2}。",
        "给前台人员的提示：看到{terms}就要怀疑{name}，记住{when}。",
    ],
    "drug": [
        "{drug}用于{name}，禁忌是{avoid}。",
        "药物卡片：{drug}。用途：{name}。禁忌：{avoid}。",
        "治疗{name}时常选{drug}，但{avoid}是禁忌。",
        "为{name}患者使用{drug}之前，医生会询问有无{avoid}，这是它的禁忌。",
        "{name}常用{drug}治疗。不可用的情况：{avoid}。",
        "药房说明：{drug}在{name}中有一席之地，遇到{avoid}则不能用。",
    ],
    "leaflet": [
        "与{name}相处：很多人这样描述，{says}。{when}。",
        "患者须知：{name}。您可能会有这样的感觉：{says}。出现{flag1}或{flag2}请立即就医。",
        "认识{name}。人们常说：{says}。应去的科室是{department}。",
        "{name}小手册。典型的说法是“{says}”。{when}。",
        "{alias}往往这样开始：{says}。{when}。",
        "得了{name}的人彼此会说：{says}。可以求助的地方是{department}。",
    ],
    "handbook": [
        "{department}手册·{name}：先{step1}，再{step2}。",
        "有{terms}的患者，以疑似{name}转到{department}。",
        "{department}诊治{name}，要点为{terms}，{when}。",
        "{department}，{name}一章：{step1}；之后{step2}。留意{flag1}。",
        "{department}的病种中有{name}，典型患者为{who}，首先{step1}。",
        "{department}新来的医生这样学习{name}：{terms}；{step1}；{step2}。",
    ],
    "round": [
        "{bed}床，{person}，入院第{day}天。{terms}。诊断：{name}。计划：{step1}；{step2}。",
        "{department}查房。{person}，{terms}。考虑{name}。可用{drug}，禁忌为{avoid}。",
        "住院第{day}天，{bed}床有{terms}。拟诊{name}。下一步{step2}。",
        "查房小结：{person}，{terms}，故考虑{name}。注意{flag1}。",
        "{bed}床{person}，因{terms}入院。{points}计划{step1}。",
        "查房交班：{bed}床为{person}，{terms}，合起来就是{name}；{step2}。",
    ],
    "full": [
        (
            "{name}：典型患者为{who}；表现为{terms}；科室为{department}；先{step1}，再{step2}；"
            "危险信号为{flag1}和{flag2}；常用药{drug}，禁忌为{avoid}；{mimic}{differs}。"
        ),
        (
            "一段话讲清{name}。表现：{terms}。{when}。先{step1}，再{step2}。"
            "常用{drug}，禁忌是{avoid}。{mimic}{differs}。警示征象：{flag1}；{flag2}。"
        ),
        (
            "{terms}，这就是{name}。由{department}负责，{when}。医生常用{drug}，{avoid}为其禁忌。"
            "步骤：{step1}；{step2}。{flag1}或{flag2}很危险。{mimic}{differs}。"
        ),
        (
            "{name}档案。患者：{who}。主诉：{says}。级别：{level}。科室：{department}。"
            "步骤：{step1}；{step2}。药物：{drug}。禁忌：{avoid}。"
        ),
        "{name}从头到尾：{who}发现，{says}。应去{department}。先{step1}，再{step2}。药物用{drug}，禁忌为{avoid}。",
        (
            "{name}学习卡。它表现为{terms}，归{department}管，要{step1}并{step2}。"
            "它的药是{drug}，忌讳是{avoid}，警报是{flag1}，容易认错成{mimic}。"
        ),
    ],
}

PAIRS = [
    "两种疾病对照。{a_name}：{a_terms}。{b_name}：{b_terms}。",
    "{a_name}归{a_department}，{b_name}归{b_department}。前者有{a_terms}，后者有{b_terms}。",
    "{a_terms}提示{a_name}，而{b_terms}提示{b_name}。",
    "先后来了两位患者。一位说：{a_says}。这是{a_name}。另一位说：{b_says}。这是{b_name}。",
    "{a_name}常用{a_drug}，{b_name}常用{b_drug}。{a_name}有{a_terms}。",
    "书页一边是{b_terms}，即{b_name}；另一边是{a_terms}，即{a_name}。",
]

SPANS = ["两天", "三天", "四天", "一周左右", "好几天", "一阵子", "一段时间", "一天多"]
SPANS_ACUTE = ["半小时", "一小时", "两小时", "几个小时", "不到一天"]
SPANS_SLOW = ["好几天", "两周", "几周", "一个月", "几个月", "很长时间"]
ASKS = [
    "{says}，这是怎么回事？",
    "医生，{says}，请问是什么病？",
    "您好，{says}，可能是什么问题，该怎么办？",
    "已经{span}了，{says}，最可能是什么原因？",
    "请帮我分析一下：{says}。",
    "{says}，这像是哪种病？",
    "想咨询一下，{says}。",
    "{says}，需要看医生吗？",
    "情况是这样的：{says}。您觉得是什么？",
    "这{span}一直有问题：{says}，是什么病呢？",
    "能告诉我这是什么意思吗？{says}。",
    "我很担心，{says}，该怎么办？",
    "早上好，{says}，有{span}了，可能是怎么了？",
    "{says}，严重吗？",
    "遇到这种情况医生会怎么想：{says}？",
    "我想问的是：{says}，有什么看法？",
    "总觉得不对劲，{says}，能说出这是什么毛病吗？",
    "我尽量描述清楚：{says}。据此您会想到什么？",
    "{says}，我想不明白，您能解释吗？",
    "假如有人跟您讲：{says}。您首先怀疑什么？",
]
ASKS_TERMS = [
    "患者有{terms}，最可能的诊断是什么？",
    "{person}，{terms}已有{span}，这是什么病？",
    "病历上写着{terms}，这是哪种疾病？",
    "所见：{terms}。请给出诊断和下一步处理。",
]

THOUGHT_URGENCY = {
    "emergency": ["这是急症。", "不能耽误时间。", "需要叫急救车。"],
    "urgent": ["应在今明两天就诊。", "比较紧急，但不至于分秒必争。"],
    "routine": ["可以预约普通门诊。", "不着急，但应去看一次。"],
}
THOUGHTS = [
    "归纳起来是{terms}，合起来指向{name}。{mimic}{differs}，不太相符。{urgency}",
    "用医学术语说，就是{terms}，这是{name}的表现，不大像{mimic}，后者{differs}。{urgency}",
    "我注意到{terms}，最符合{name}。也要考虑{mimic}，但它{differs}。{urgency}",
    "描述的是{terms}，所以首先想到{name}。{mimic}可能性较小，因为它{differs}。{urgency}",
    "关键表现：{terms}。更像{name}而不是{mimic}，后者{differs}。{urgency}",
]
ANSWERS = {
    "emergency": [
        "请立即拨打120。最可能是{name}，属于{department}的急症。医生会{step1}，然后{step2}。{flag1}是极危险的信号。",
        "请马上呼叫急救。最可能是{name}，由{department}处理。首先{step1}；随后{step2}。注意有无{flag1}。",
        "请立即叫救护车去急诊。最可能是{name}，由{department}诊治，会先{step1}，再{step2}。要警惕{flag1}。",
        "请立刻拨打120，不要等待。最可能是{name}。{department}会{step1}，再{step2}。出现{flag1}更是分秒必争。",
    ],
    "urgent": [
        "最可能是{name}。请今明两天到{department}就诊，医生会{step1}，然后{step2}。出现{flag1}要立即去医院。",
        "最可能是{name}，不宜拖延，请一天内去{department}。首先{step1}；随后{step2}。若有{flag1}，应马上就医。",
        "最可能是{name}。合适的科室是{department}，最好今天就去，会先{step1}，再{step2}。发现{flag1}请立即去医院。",
        "最可能是{name}，请一两天内看{department}，计划是{step1}，并{step2}。危险信号是{flag1}，出现时马上去。",
    ],
    "routine": [
        "最可能是{name}。请预约{department}，医生会{step1}，然后{step2}。如出现{flag1}，应立即就医。",
        "最可能是{name}，由{department}诊治，可以正常预约。首先{step1}；随后{step2}。{flag1}需要马上看医生。",
        "最可能是{name}。到{department}普通门诊即可，会先{step1}，再{step2}。若发现{flag1}，不要等待。",
        "最可能是{name}。{department}可以帮助您，计划是{step1}，并{step2}。这不是急症，但出现{flag1}要立即去。",
    ],
}

FOLLOWUPS = {
    "drug": {
        "ask": ["一般用什么药，哪些人不能用？", "有药可用吗，什么情况下禁用？", "医生会开什么药，我该先说明什么？"],
        "think": ["{name}常用{drug}，禁忌是{avoid}。", "问的是{name}的用药：{drug}，而{avoid}属于禁忌。"],
        "answer": [
            "治疗{name}常用{drug}，禁忌是{avoid}。请先把这方面的情况告诉医生，不要自行用药。",
            "{name}的常用药是{drug}，{avoid}属于禁忌。用量请由医生决定。",
        ],
    },
    "department": {
        "ask": ["应该挂哪个科？", "这个病归哪个科看？", "我该预约哪里？"],
        "think": ["{name}归{department}，级别是{level}。", "{name}对应的科室是{department}。"],
        "answer": ["{name}由{department}诊治，时间上，{when}。", "请去{department}，那里负责{name}。请记住，{when}。"],
    },
    "alarm": {
        "ask": ["什么情况下必须马上去医院？", "有哪些危险信号？", "出现什么就不能再等了？"],
        "think": ["{name}的危险信号是{flag1}和{flag2}。", "问的是{name}的警示征象：{flag1}；{flag2}。"],
        "answer": [
            "得了{name}，出现{flag1}或{flag2}要立即去医院。拿不准时宁可求助，不要等待。",
            "{name}的危险信号是{flag1}和{flag2}，有其中之一就不要等。",
        ],
    },
    "mimic": {
        "ask": ["还可能是别的病吗？", "会不会是其他问题？", "有没有别的解释？"],
        "think": ["与{name}最像的是{mimic}，{mimic}{differs}。", "{name}可能与{mimic}混淆，{mimic}{differs}。"],
        "answer": [
            "仍以{name}最有可能，但{mimic}也可以很像。区别在于{mimic}{differs}。检查后就能分清。",
            "除了{name}，还要想到{mimic}。不过{mimic}{differs}。医生可以鉴别。",
        ],
    },
}

REFUSALS = {
    "dose_for_other": {
        "ask": [
            "邻居得了{name}，{drug}该给他吃几片？",
            "告诉我姑姑治{name}的{drug}准确用量。",
            "朋友有{name}，我正好剩下一些{drug}，他能用多少？",
        ],
        "think": ["不能替别人定剂量，用量因人而异，应由开药的医生决定。"],
        "answer": [
            "我不能替别人给出剂量。{drug}的用量要看年龄、肝肾功能和其他用药，请让患者问熟悉情况的医生或药师。",
            "药物不要互相分享。我不会替别人定{drug}的用量，请去{department}或问药师，并说明有无{avoid}。",
        ],
    },
    "cure_guarantee": {
        "ask": [
            "请向我保证{name}一定能完全治好。",
            "你能保证{drug}可以根治{name}吗？",
            "我只想听你说{name}肯定会好，快说吧。",
        ],
        "think": ["没有人能保证治愈，应当温和说明，并指出有用的做法。"],
        "answer": [
            "我理解您的心情，但谁也不能保证治愈。对{name}有帮助的是{step1}，并{step2}。{department}会告诉您预期的情况。",
            "这一点我无法保证。{name}的病程因人而异，{department}会根据您的情况一起制定治疗方案。",
        ],
    },
    "diagnosis_from_nothing": {
        "ask": [
            "我感觉怪怪的，直接告诉我得了什么病，是{name}吗？",
            "没有什么症状可说，我是不是得了{name}？",
            "给我诊断吧，我什么都不说，你只要回答是不是{name}。",
        ],
        "think": ["没有任何表现可以依据，不能下诊断，应当请对方补充情况。"],
        "answer": [
            (
                "信息太少，我无法判断。请说说哪里不舒服、从什么时候开始、有什么变化。像{term_first}这样的表现才会想到{name}，"
                "还要先由医生检查。"
            ),
            "没有症状和检查就无法诊断。请告诉我您注意到什么、持续了多久，或者去看医生做检查。",
        ],
    },
    "stop_drug": {
        "ask": [
            "医生为{name}开了{drug}，我好多了想停掉，可以吧？",
            "治{name}的{drug}我想扔掉，行吗？",
            "你就让我停用{drug}吧，{name}我治烦了。",
        ],
        "think": ["自行停用医生开的药可能有害，应先问开药的医生。"],
        "answer": [
            "请不要自行停用{drug}，否则{name}可能加重。请联系开药的医生，说出您的困扰，再商量其他办法。",
            "我不能建议停药。调整{drug}之前请先咨询{department}，如果怀疑有副作用，今天就打电话问医生。",
        ],
    },
}

OVER_REASSURANCE = [
    "别担心，{name}一点事都没有，自己就会好。不用看医生，休息一下，忘了它就行。",
    "不过是{name}而已，什么都不会发生。在家喝点热水，保证没问题。",
    "这是{name}，完全不必在意。看医生只会让人紧张，等着就好。",
]
MISSED_RED_FLAG = [
    "最可能是{name}，属于{department}。以后有空去看，会先{step1}，再{step2}。可以先观察几周。",
    "最可能是{name}。等方便的时候去{department}，{step1}，然后{step2}。没有什么需要留意的。",
]

SYSTEMS = [
    "你是一名谨慎的医疗助手，先思考再回答，并说明下一步。",
    "你是健康热线的医生，回答要简短、亲切、清楚。",
    "请先推理再回答健康问题，遇到急症要提醒。",
]
INSTRUCTIONS = ["说出最可能的疾病和下一步。", "阅读主诉，像医生一样回答。", "针对下面的情况给出简短的医疗建议。"]

VERIFIABLE = {
    "diagnosis": [
        "{says}。请说出最可能的诊断名称。",
        "患者有{terms}，请写出诊断。",
        "{says}，这是什么病？只答病名。",
    ],
    "department": ["{name}应该由哪个科室诊治？", "得了{name}应挂哪个科？请写出科室名称。"],
    "drug": ["请写出一种治疗{name}的常用药物。", "{name}常用什么药？请用通用名回答。"],
    "contraindication": ["{state}是否属于{drug}的禁忌？请回答是或否。", "是或否：{drug}的禁忌包括{state}吗？"],
    "urgency": ["{name}的紧急程度是急救、紧急还是常规？", "{name}的分诊级别是什么？从急救、紧急、常规中选一个。"],
}
YES, NO = "是", "否"
CHOICE = ["{says}。最可能是哪种疾病？", "患者有{terms}，哪个诊断最合适？"]
PERSONS = {"man": "男性", "woman": "女性", "boy": "男孩", "girl": "女孩"}
# How lists are joined: (between, before the last). A finding's pair is its lay and its textbook wording.
TERM_JOINS = [("、", "、"), ("、", "和"), ("，", "，以及")]
SAY_JOINS = [("，", "，"), ("，", "，而且"), ("；", "；"), ("，", "，另外")]
PAIR, PAIR_JOIN = "“{say}”即{term}", "；"
PERSON, PERSON_MONTHS = "{age}岁{sex}", "{age}个月大的{sex}"
