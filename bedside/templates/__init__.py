"""The template registry: one row and one `.jinja` file a name.

The file is read by training, saved with the checkpoint (`chat_template.jinja`), read by transformers'
`apply_chat_template`, and passed to vLLM: what is served is what was trained. docs/templates.md tells how to add one.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bedside.errors import ConfigError
from bedside.templates.render import Rendered, render

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Template:
    """A chat template. `turn_end` is a token, or "eos_token" where the family has no turn token of its own."""

    name: str
    source: str
    turn_end: str = "eos_token"
    aliases: tuple[str, ...] = ()
    extra_stops: tuple[str, ...] = ()
    required_tokens: tuple[str, ...] = ()
    supports_system: bool = True
    thinking: Literal["none", "hybrid", "always"] = "none"
    reasoning_parser: str | None = None
    tool_parser: str | None = None
    warning: str | None = None
    trusted: bool = False  # ours: rendered without a sandbox, which takes half the time

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


def _row(name: str, **columns: Any) -> Template:
    return Template(name, (_HERE / f"{name}.jinja").read_text(encoding="utf-8"), trusted=True, **columns)


_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")

REGISTRY: dict[str, Template] = {
    template.name: template
    for template in (
        _row(
            "qwen",
            aliases=("qwen2", "qwen2_5", "qwen2.5"),
            turn_end="<|im_end|>",
            extra_stops=("<|endoftext|>",),
            required_tokens=_CHATML_TOKENS,
            tool_parser="hermes",
        ),
        _row(
            "qwen3",
            turn_end="<|im_end|>",
            extra_stops=("<|endoftext|>",),
            required_tokens=_CHATML_TOKENS,
            thinking="hybrid",
            reasoning_parser="qwen3",
            tool_parser="hermes",
        ),
        _row(
            "deepseek",
            aliases=("deepseek_r1", "deepseekr1", "deepseek_r1_distill"),
            extra_stops=("<｜end▁of▁sentence｜>",),
            thinking="always",
            reasoning_parser="qwen3",
            warning="`deepseek` is the R1-Distill format here (it thinks); LLaMA-Factory gives that name to the older "
            "deepseek-llm format and calls this one deepseekr1",
        ),
        _row("chatml", turn_end="<|im_end|>", required_tokens=_CHATML_TOKENS),
        _row(
            "llama3",
            aliases=("llama-3",),
            turn_end="<|eot_id|>",
            extra_stops=("<|end_of_text|>",),
            required_tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        _row("vicuna"),
        _row("alpaca", aliases=("default",)),
    )
}
_BY_NAME = {name: row for row in REGISTRY.values() for name in (row.name, *row.aliases)}


def get(name: str) -> Template:
    """The template called `name` (or an alias); ConfigError names the nearest ones."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"--template_name {name}: no such template; {hint}known: {', '.join(REGISTRY)}")


def own(source: str) -> Template:
    """A model's own chat template as a row: it ends turns with the tokenizer's EOS; thinking is read off its text."""
    thinks = any(word in source for word in ("reasoning", "thinking", "</think>"))
    registered = next((row for row in REGISTRY.values() if row.source.strip() == source.strip()), None)
    return registered or Template("the model's own", source, thinking="hybrid" if thinks else "none")


def fitting(has_token: Callable[[str], bool]) -> list[str]:
    """Names of the templates that a tokenizer has the tokens for, those of its family first."""
    fits = [row for row in REGISTRY.values() if all(map(has_token, row.required_tokens))]
    return [row.name for row in sorted(fits, key=lambda row: not row.required_tokens)]


def turn_end_of(template: Template, special_tokens: dict[str, str]) -> str:
    """The text that ends an assistant turn, with this tokenizer's EOS filled in."""
    return special_tokens.get("eos_token", "") if template.turn_end == "eos_token" else template.turn_end


_PROBE = [
    {"role": "user", "content": "a?"},
    {"role": "assistant", "content": "b.", "reasoning_content": "c"},
    {"role": "user", "content": "d?"},
    {"role": "assistant", "content": "e.", "reasoning_content": "f"},
]


@lru_cache(maxsize=64)
def single_pass(template: Template) -> bool:
    """True if an answer reads the same as the last turn and as history, so that one pass trains every turn.

    Thinking templates drop the thoughts of earlier turns: there, a chat of N turns has to become N samples.
    """
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"}
    first, both = (template.render(_PROBE[:end], **tokens) for end in (2, 4))
    if not first.spans or len(both.spans) != 2:
        return False
    end = first.spans[0][1]
    return both.spans[0] == first.spans[0] and both.text[:end] == first.text[:end]
