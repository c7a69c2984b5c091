"""How to ask the server: two snippets that work as they stand, and the two questions of --check."""

from __future__ import annotations

import json
import os
import shlex
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from bedside.deploy import server
from bedside.deploy.command import Start
from bedside.errors import ConfigError

_HELD_OUT = Path(__file__).resolve().parents[2] / "data/eval/heldout_phrasings.jsonl"
_QUESTIONS = {
    "zh": "发热三天，咳嗽有痰，该怎么办？",
    "en": "I have had a fever and a cough for three days. What should I do?",
}
_TEMPERATURE = 0.7  # that of inference.py; vLLM's own is 1, which small models do not bear
_SECONDS = 600


class Reply(NamedTuple):
    """What came back: thought (None: none), answer (None: none), and why it ended."""

    reasoning: str | None
    content: str | None
    finish_reason: str

    def whole(self, thinks: bool) -> bool:
        """Whether the model said all that it was trained to say."""
        return self.finish_reason == "stop" and bool(self.content) and (bool(self.reasoning) or not thinks)


def _body(start: Start, question: str) -> dict:
    return {"model": start.model, "messages": [{"role": "user", "content": question}], "temperature": _TEMPERATURE}


def curl(start: Start, key: bool) -> str:
    """One line for a shell; the key stays in its variable."""
    words = ["curl", f"{start.url}/v1/chat/completions", "-H", "Content-Type: application/json"]
    words += ["--cacert", start.certificate] if start.certificate else []
    data = json.dumps(_body(start, _QUESTIONS["zh"]), ensure_ascii=False)
    bearer = ' -H "Authorization: Bearer $VLLM_API_KEY"' if key else ""
    return f"{shlex.join(words)}{bearer} -d {shlex.quote(data)}"


def openai(start: Start, key: bool) -> str:
    """A few lines of Python with the official client."""
    shown = ["print(message.reasoning)  # the thought", "print(message.content)"] if start.thinks else [
        "print(message.content)"]  # fmt: skip
    secret = "os.environ['VLLM_API_KEY']" if key else "'none'"
    lines = [
        *(["import os"] if key else []),
        "from openai import OpenAI",
        f"client = OpenAI(base_url={start.url + '/v1'!r}, api_key={secret})",
        f"messages = [{{'role': 'user', 'content': {_QUESTIONS['en']!r}}}]",
        f"asked = {{'model': {start.model!r}, 'messages': messages, 'temperature': {_TEMPERATURE}}}",
        "reply = client.chat.completions.create(**asked)",
        "message = reply.choices[0].message",
        *shown,
    ]  # fmt: skip
    return "\n".join(lines)


def questions() -> list[str]:
    """A held-out question in Chinese and one in English."""
    found: dict[str, str] = {}
    if _HELD_OUT.is_file():
        with open(_HELD_OUT, encoding="utf-8") as stream:
            for row in map(json.loads, stream):
                found.setdefault(row["lang"], row["messages"][0]["content"])
    return [found.get(language, question) for language, question in _QUESTIONS.items()]


def ask(start: Start, question: str) -> Reply:
    """The server's reply at temperature 0; ConfigError with its own words if it refuses."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("VLLM_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({**_body(start, question), "temperature": 0}).encode()
    request = urllib.request.Request(f"{start.url}/v1/chat/completions", body, headers)
    try:
        with server.opener(start).open(request, timeout=_SECONDS) as reply:
            choice = json.load(reply)["choices"][0]
    except urllib.error.HTTPError as error:
        raise ConfigError(
            f"the server refuses the question: {error.read().decode('utf-8', 'replace')[:300]}"
        ) from None
    message = choice["message"]
    return Reply(message.get("reasoning"), message.get("content"), choice["finish_reason"])


def shown(question: str, reply: Reply) -> str:
    """A question and what came back, as lines."""
    rows = {"question": question, "reasoning": reply.reasoning, "content": reply.content,
            "finish_reason": reply.finish_reason}  # fmt: skip
    return "\n".join(f"{name:>13}  {(value or 'none').strip()}" for name, value in rows.items())
