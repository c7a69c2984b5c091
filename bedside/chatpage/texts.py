"""Every word of the chat pages, in Chinese and English, and the example cases."""

from types import MappingProxyType

LANGUAGES = ("zh", "en")

_ZH = {
    "title": "bedside · 医学问答",
    "subtitle": "先思考，再回答",
    "disclaimer": "仅供学习和研究，不是医疗建议；回答可能有误。身体不适请就医，急症请拨打 120。",
    "language": "语言 / Language",
    "model": "模型",
    "question": "问题",
    "question_hint": "描述症状或提问，请勿填写姓名等个人信息。",
    "send": "发送",
    "stop": "停止",
    "retry": "重新回答",
    "edit": "修改问题",
    "clear": "清空",
    "settings": "设置",
    "system_prompt": "系统提示",
    "system_prompt_hint": "可以留空；每个问题都会带上它",
    "temperature": "温度",
    "temperature_hint": "0：每次都取最可能的词",
    "max_new_tokens": "最多词元数（含思考）",
    "examples": "示例",
    "empty": "问一个问题，或选一个示例。",
    "export": "导出对话",
    "export_markdown": "下载 Markdown",
    "export_json": "下载 JSON",
    "thinking": "正在思考…",
    "thought": "思考过程",
    "waiting": "正在读题…",
    "no_answer": "（没有回答）",
    "stopped": "已停止",
    "cut": "已到最多词元数，回答没有写完",
    "failed": "没能完成回答",
    "failed_unknown": "回答时出错了，原因写在运行本页面的终端里。可以点“重新回答”再试。",
    "full_stop": "。",
    "again": "可以点“重新回答”再试。",
    "too_long": "对话太长，超出了模型能读的长度。请清空对话，或缩短问题。",
    "refused": "模型不能接受这段对话：{detail}",
    "first": "模型 A",
    "second": "模型 B",
    "you": "用户",
    "assistant": "助手",
    "exported": "导出时间",
    "nothing_to_export": "还没有对话可以导出。",
    "banner_title": "可能是急症",
    "image": "图片",
}

_EN = {
    "title": "bedside · medical questions",
    "subtitle": "It thinks before it answers",
    "disclaimer": "For study and research: not medical advice, and answers can be wrong. If you are unwell see a "
    "doctor; "
    "in an emergency call 911, 112 or your local number.",
    "language": "Language / 语言",
    "model": "Model",
    "question": "Question",
    "question_hint": "Describe symptoms or ask a question. Leave out names and other personal details.",
    "send": "Send",
    "stop": "Stop",
    "retry": "Answer again",
    "edit": "Edit question",
    "clear": "Clear",
    "settings": "Settings",
    "system_prompt": "System prompt",
    "system_prompt_hint": "May be empty; it goes with every question",
    "temperature": "Temperature",
    "temperature_hint": "0: the likeliest token every time",
    "max_new_tokens": "Most tokens, thought included",
    "examples": "Examples",
    "empty": "Ask a question, or choose an example.",
    "export": "Export the conversation",
    "export_markdown": "Download Markdown",
    "export_json": "Download JSON",
    "thinking": "Thinking …",
    "thought": "Thought",
    "waiting": "Reading the question …",
    "no_answer": "(no answer)",
    "stopped": "Stopped",
    "cut": "The limit of tokens was reached: the answer is not complete",
    "failed": "The answer could not be finished",
    "failed_unknown": "Something broke while answering; the terminal that runs this page says what. "
    "“Answer again” tries once more.",
    "full_stop": ". ",
    "again": "“Answer again” tries once more.",
    "too_long": "The conversation is longer than the model can read. Clear it, or shorten the question.",
    "refused": "The model cannot take this conversation: {detail}",
    "first": "Model A",
    "second": "Model B",
    "you": "User",
    "assistant": "Assistant",
    "exported": "Exported",
    "nothing_to_export": "There is no conversation to export yet.",
    "banner_title": "This may be an emergency",
    "image": "Image",
}

# Read only: pages of all users share them.
TEXTS = MappingProxyType({"zh": MappingProxyType(_ZH), "en": MappingProxyType(_EN)})

# Invented cases, none of a patient: two complaints (the second with a danger sign), a child, a question of knowledge.
EXAMPLES = MappingProxyType(
    {
        "zh": (
            "最近两周总是反酸、烧心，躺下后更明显，饭后也会加重。可能是什么问题？要做哪些检查？",
            "父亲 58 岁，半小时前突然胸口压榨样疼痛，出了一身冷汗，左臂也疼，怎么办？",
            "孩子 4 岁，手心、脚底和口腔里长了小水疱，低烧一天，要不要隔离？",
            "高血压和糖尿病的病人，选降压药时要注意什么？",
        ),
        "en": (
            "For two weeks I have had heartburn and a sour taste, worse after meals and when I lie down. What could "
            "it "
            "be, and which tests make sense?",
            "My mother is 67. Twenty minutes ago one side of her face began to droop and her speech is slurred. What "
            "should I do?",
            "My four-year-old has small blisters on the hands, the soles and in the mouth, and a mild fever since "
            "yesterday. Should she stay at home?",
            "What should be considered when choosing a blood pressure drug for someone who also has diabetes?",
        ),
    }
)


def words(language: str) -> MappingProxyType:
    """The page's words in "zh" or "en"; KeyError for another language."""
    return TEXTS[language]


def preferred(accepted: str | None) -> str:
    """The language of a browser's Accept-Language header: "zh" if it asks for Chinese before English, else "en".

    >>> preferred("de-DE,zh-CN;q=0.8,en;q=0.5"), preferred("en-GB,zh;q=0.5"), preferred(None)
    ('zh', 'en', 'en')
    """
    ranked = []
    for place, part in enumerate((accepted or "").split(",")):
        name, _, quality = part.strip().lower().partition(";")
        try:
            weight = float(quality.partition("=")[2] or 1)
        except ValueError:
            weight = 0.0
        if name[:2] in LANGUAGES and weight > 0:
            ranked.append((-weight, place, name[:2]))
    return min(ranked)[2] if ranked else "en"
