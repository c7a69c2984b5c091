"""Words that only the Streamlit page needs, in Chinese and English."""

from types import MappingProxyType

from bedside.chatpage import texts
from bedside.chatpage.flags import PASSWORD

_OWN = {
    "zh": {
        "loading": "正在加载模型…",
        "load_again": "再试一次",
        "cancel": "取消",
        "password": "密码",
        "enter": "进入",
        "wrong": "密码不对。",
        "unlocked": f"本页面在 {{address}} 上可以被其他机器打开，但没有密码。请先设置环境变量 {PASSWORD}，"
        "或用 127.0.0.1 启动。",
        "stopping": "正在停止…",
    },
    "en": {
        "loading": "Loading the model …",
        "load_again": "Try again",
        "cancel": "Cancel",
        "password": "Password",
        "enter": "Enter",
        "wrong": "That is not the password.",
        "unlocked": f"Other machines can open this page on {{address}}, and it has no password. Set {PASSWORD} in the "
        "environment, or start it on 127.0.0.1.",
        "stopping": "Stopping …",
    },
}
ALL = MappingProxyType(
    {language: MappingProxyType({**own, **texts.words(language)}) for language, own in _OWN.items()}
)


def words(language: str) -> MappingProxyType:
    """The shared words of the pages and this page's own, in "zh" or "en"."""
    return ALL[language]
