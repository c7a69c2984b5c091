"""What is known of one chat template, and how its tool format can be another one."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bedside.errors import ConfigError
from bedside.templates.render import Rendered, render

HERE = Path(__file__).parent

# How tools, calls and results are written (tools/<name>.jinja), and vLLM's parser that reads such calls.
TOOL_FORMATS: dict[str, str | None] = {
    "default": None,
    "qwen": "hermes",
    "llama3": "llama3_json",
    "mistral": "mistral",
    "mistral_nemo": "mistral",
    "glm4": None,
    "deepseek": "deepseek_v3",
    "qwen3_5": "qwen3_xml",
    "glm4_moe": "glm45",
}
_SLOT = re.compile(r"\{#- tools: (\w+) -#\}\n(.*?)\{#- end of tools -#\}\n", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """A chat template. `turn_end` is a token, or "eos_token" where the family has no turn token of its own."""

    name: str
    source: str
    family: str = ""
    turn_end: str = "eos_token"
    aliases: tuple[str, ...] = ()
    extra_stops: tuple[str, ...] = ()
    required_tokens: tuple[str, ...] = ()
    supports_system: bool = True  # False: the family has no system turn, the text goes in front of the first question
    thinking: Literal["none", "hybrid", "always"] = "none"
    reasoning_parser: str | None = None
    tool_format: str | None = None
    warning: str | None = None
    trusted: bool = False  # ours: rendered without a sandbox, which takes half the time

    @property
    def tool_parser(self) -> str | None:
        """vLLM's parser of this template's tool calls, or None."""
        return TOOL_FORMATS.get(self.tool_format or "")

    def render(self, messages: list[dict], tools: list[dict] | None = None, **variables: Any) -> Rendered:
        """Text and trained spans of `messages` (see `bedside.templates.render`)."""
        if self.thinking == "none":
            messages = [_thought_inside(message) for message in messages]
        elif not self.trusted:
            messages = [_thought_under_every_name(message) for message in messages]
        return render(self.source, messages, tools, trusted=self.trusted, **variables)


def _thought_inside(message: dict) -> dict:
    """A template without a thinking mode shows a thought as text in front of the answer, in every turn alike."""
    thought = message.get("reasoning_content")
    if not thought:
        return message
    answer = (message.get("content") or "").strip()
    return {**message, "content": f"<think>\n{thought.strip()}\n</think>\n\n{answer}"}


def _thought_under_every_name(message: dict) -> dict:
    """As transformers passes it on: some models' templates read `thinking`."""
    thought = message.get("reasoning_content")
    return {"thinking": thought, **message} if thought is not None else message


def load(name: str, family: str, **columns: Any) -> Template:
    """The row of `<name>.jinja`; its tool format is read off the file."""
    source = (HERE / f"{name}.jinja").read_text(encoding="utf-8")
    written = _SLOT.search(source).group(1)
    return Template(name, source, family, trusted=True, tool_format=None if written == "none" else written, **columns)


@lru_cache
def _format_source(tool_format: str) -> str:
    text = (HERE / "tools" / f"{tool_format}.jinja").read_text(encoding="utf-8")
    return f"{{#- tools: {tool_format} -#}}\n{text}{{#- end of tools -#}}\n"


def with_tool_format(template: Template, tool_format: str) -> Template:
    """The template with another way to write tools; ConfigError if there is no such format or no place for it."""
    if tool_format not in (*TOOL_FORMATS, "none"):
        raise ConfigError(f"--tool_format {tool_format}: no such format; known: {', '.join(TOOL_FORMATS)}")
    source, found = _SLOT.subn(lambda _: _format_source(tool_format), template.source)
    if not found:
        raise ConfigError(
            f"--tool_format {tool_format}: {template.name} template is not one of bedside's, so its tool format "
            "stays as it is; add --template_name, or drop --tool_format"
        )
    return replace(template, source=source, tool_format=None if tool_format == "none" else tool_format)


def body_of(source: str) -> str:
    """The text of a template without its tool format, to tell which template it is."""
    return _SLOT.sub("", source).strip()


def format_of(source: str) -> str | None:
    """Name of the tool format that `source` holds word for word, "none" included; None if it holds another text."""
    found = _SLOT.search(source)
    known = found and found.group(1) in (*TOOL_FORMATS, "none") and _format_source(found.group(1)) == found.group(0)
    return found.group(1) if known else None
