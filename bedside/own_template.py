"""The chat template that a model brings along: found among several, recognised, with the stops that belong to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedside import logs, templates
from bedside.errors import ConfigError
from bedside.templates import Template, advice
from bedside.templates.nearest import recognised
from bedside.templates.template import with_tool_format

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NAMED = 8  # of the templates that a tokenizer has the tokens for, a message names so many


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """The tokens that templates are rendered with: bos_token, eos_token, ... as the tokenizer names them."""
    return {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}


def sources(tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """The tokenizer's own chat templates by name: none, one called default, or several."""
    found = tokenizer.chat_template
    if isinstance(found, list):  # as older files have several
        found = {item["name"]: item["template"] for item in found}
    return found if isinstance(found, dict) else {"default": found} if found else {}


def take(tokenizer: PreTrainedTokenizerFast, tool_format: str | None = None) -> Template:
    """The template that the tokenizer has, of several the one called default, which a line then says.

    Raises ConfigError if there is none, and for a `tool_format` where it is not one of ours.
    """
    own = sources(tokenizer)
    if "default" not in own:
        found = f"several chat templates ({', '.join(own)}), none called default," if own else "no chat template"
        fitting = templates.fitting(tokenizer.get_vocab().__contains__)[:_NAMED]
        raise ConfigError(
            f"the model has {found} of its own; add --template_name ({', '.join(fitting)}, ...; qwen3 for a model "
            "that thinks first), or a file of your own (docs/templates.md tells how)"
        )
    if len(own) > 1:
        others = ", ".join(name for name in own if name != "default")
        logs.info(f"the model has several chat templates: the one called default is taken, {others} left out")
    template = recognised(own["default"], special_tokens(tokenizer))
    return with_tool_format(template, tool_format) if tool_format else template


def advise(tokenizer: PreTrainedTokenizerFast, given: Template) -> None:
    """Tell in one line when the model's own template is another one than `given`."""
    told = advice.on_choice(given, sources(tokenizer).get("default"), special_tokens(tokenizer))
    if told:
        (logs.warn if told.alarm else logs.info)(told.text)
