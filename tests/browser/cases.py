"""What the scripted engine says: a case to look at, a slow one to interrupt, attacks, a failure.

The question decides, so that every run of a page says the same.
"""

import re
import threading

from bedside.answers import Answer, EngineFailed
from bedside.thoughts import Delta

ATTACK = (
    "<script>window.hacked = 1; alert(1)</script><img src=x onerror=\"window.hacked = 2\">\n\n"
    "<svg onload=\"window.hacked = 3\"></svg> [link](javascript:window.hacked=4) "
    "![pixel](http://198.51.100.7/pixel.png) <iframe src=\"http://198.51.100.7/\"></iframe>\n\n"
    "`<img src=x onerror=window.hacked=5>`\n\n```html\n<script>window.hacked = 6</script>\n```\n\n"
    "<a href=\"javascript:window.hacked=7\">a</a> <style>body { display: none }</style>"
)  # fmt: skip
_ZH = (
    "患者中年男性，突发胸骨后压榨样疼痛半小时，伴大汗和左臂放射痛。最需要先排除急性心肌梗死；主动脉夹层的疼痛多呈撕裂样，"
    "肺栓塞常有气短。首先是急救，而不是在家观察。",
    "**请立即拨打 120。** 最可能是急性心肌梗死，需要马上处理：\n\n"
    "1. 让病人停止活动，半卧休息，不要自己开车去医院。\n2. 没有过敏或出血时，可嚼服阿司匹林 300 mg。\n"
    "3. 到院后尽快做心电图和肌钙蛋白检查。\n\n| 需要鉴别 | 疼痛特点 |\n| --- | --- |\n"
    "| 急性心肌梗死 | 压榨样，向左臂放射 |\n| 主动脉夹层 | 撕裂样，向背部延伸 |\n",
)
_EN = (
    "One side of the face droops and the speech is slurred, twenty minutes ago. That fits an acute stroke, and the "
    "time "
    "since it began decides which treatment is still possible. Low blood sugar can look alike and is measured on the "
    "way.",
    "**Call an ambulance now.** This may be a stroke, and minutes count:\n\n"
    "1. Note the time when it began.\n2. Let her lie on her side; give nothing to eat or drink.\n"
    "3. Give no aspirin before a scan: bleeding has to be ruled out.\n\n| Sign | What to look for |\n| --- | --- |\n"
    "| Face | one corner of the mouth hangs |\n| Arms | one sinks when both are raised |\n| Speech | slurred or "
    "missing |\n",
)


def script(question: str, number: int) -> tuple[str, str]:
    """Thought and answer to a question; `number` counts how often it was asked."""
    if "ATTACK" in question:
        return ATTACK, ATTACK
    if "SLOW" in question:
        return "long thought " * 10, "word " * 400
    if "COUNT" in question:
        return f"thought {number}", f"answer {number} to {question}"
    return _ZH if re.search("[\u4e00-\u9fff]", question) else _EN


class CaseEngine:
    """Says `script` in pieces, `pause` seconds apart. "BREAK" in a question breaks it in mid-answer."""

    thinks = True

    def __init__(self, name: str = "medical-tuned", pause: float = 0.03, says: str = ""):
        self.name, self.pause, self.says = name, pause, says
        self._asked: dict[str, int] = {}

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        """Deltas, then the Answer; ends early when `cancel` is set."""
        cancel, question = cancel or threading.Event(), messages[-1]["content"]
        self._asked[question] = number = self._asked.get(question, 0) + 1
        thought, answer = script(question, number)
        answer = self.says + answer
        said = {"thought": "", "answer": ""}
        pause = 0.15 if "SLOW" in question else self.pause  # a minute, for a busy machine to press Stop in
        for kind, text in (("thought", thought), ("answer", answer)):
            for piece in re.findall(r"(?s).{1,6}", text):
                if cancel.wait(pause):
                    break
                if "BREAK" in question and len(said["answer"]) > 20:
                    raise EngineFailed("the server at 127.0.0.1:9 closed the connection", again=True)
                said[kind] += piece
                yield Delta(kind, piece)
            if "PAUSED" in question:  # long enough to be looked at on a busy machine
                cancel.wait(8)
        finish = "cancelled" if cancel.is_set() else "stop"
        yield Answer("", said["thought"] or None, said["answer"], finish, 20, 80)

    def answer(self, conversations, sampling, enable_thinking=None):
        """The whole answers."""
        return [list(self.stream(messages, sampling))[-1] for messages in conversations]
