"""One sentence for a --template_name that is not what the model was trained with, and none for one that is."""

from collections.abc import Mapping
from typing import NamedTuple

from bedside import templates
from bedside.templates import Template, nearest


class Advice(NamedTuple):
    """What to tell the user; an `alarm` is a warning, anything else a line to know."""

    alarm: bool
    text: str


def on_choice(given: Template, own_source: str | None, special_tokens: Mapping[str, str]) -> Advice | None:
    """Advice on training with `given` a model whose own template is `own_source`; None where they agree.

    They agree when their prompts differ in nothing but a default system prompt.
    """
    found = nearest.nearest(own_source, special_tokens) if own_source else None
    if found is None:
        return Advice(True, given.warning) if given.warning else None
    name, exact = found
    if name == given.name or _is_early_r1(given, name, own_source):
        return Advice(False, f"template {given.name} is this model's own; {given.warning}") if given.warning else None
    own_prompts = nearest.prompts(templates.own(own_source), special_tokens)
    chosen = nearest.prompts(given, special_tokens)
    if nearest.differ_in_default_system_only(own_prompts, chosen):
        return None
    relation = f"the model's own template is {name}'s" if exact else f"the model's own template resembles {name}"
    dated = nearest.has_dates(own_prompts) and not nearest.has_dates(chosen)
    row = templates.REGISTRY[name]
    return Advice(
        not _teaches_thinking(given, row), f"{relation}; {_consequence(given, row, dated)}; {_remedy(given, row)}"
    )


def _teaches_thinking(given: Template, near: Template) -> bool:
    """A model that does not think yet is given a template that does: often just what is wanted."""
    return given.thinking != "none" and near.thinking == "none" and given.name != "deepseek"


def _is_early_r1(given: Template, name: str, own_source: str) -> bool:
    """R1-Distill's first template wrote DeepSeek V3's prompts; it is told by the thoughts that it cuts off."""
    return given.name == "deepseek" and name == "deepseek3" and "</think>" in own_source


def _consequence(given: Template, near: Template, dated: bool) -> str:
    """What a model that is used to `near` meets instead; `dated`: to dates, which `given` does not write."""
    if nearest.has_markers(near) and not nearest.has_markers(given):
        return f"{given.name} is for base models and writes none of the chat tokens that this model knows"
    if given.name == "deepseek" and near.name.startswith("deepseek"):
        return "deepseek is the R1-Distill format here, which opens a thought in front of every answer"
    if given.thinking == "none" and near.thinking != "none":
        return f"with {given.name} its thoughts become plain text in front of the answer, and history keeps them"
    if given.thinking != "none" and near.thinking == "none":
        return f"it has no thoughts, and with {given.name} each answer follows a thought or a closed empty one"
    if dated:
        return f"with {given.name} no dates stand in the system turn: what it was pretrained to expect differs"
    return f"{given.name} writes turns that it was not trained on"


def _remedy(given: Template, near: Template) -> str:
    unless = ", unless the model is to learn to think" if _teaches_thinking(given, near) else ""
    return f"give --template_name {near.name}{unless}"
