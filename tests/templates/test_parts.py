"""Rendering by parts is the real rendering, for every template and whatever people say.

sh run_tests.sh tests/templates/test_parts.py
"""

import random
import sys

import pytest

from bedside import templates
from bedside.data.conversation import RowError
from bedside.templates import parts

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
SAID = ["头晕", "怎么办？", " ", "\n", "\n\n", "\u3000", "a b", "{{ x }}", "{% if %}", ":", "###", "\t", "🩺", "User:",
        "x<y", "[1]", "/nothink", "\u2003", "\x1f", "\x85", "</think>", "<|im_end|>", "USER: ", "\uf8f0"]  # fmt: skip


def said(rng):
    while not (text := "".join(rng.choices(SAID, k=rng.randint(1, 5)))).strip():
        pass
    return text


def chat(rng):
    messages = [{"role": "system", "content": said(rng)}] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 4)):
        messages.append({"role": "user", "content": said(rng)})
        messages.append({"role": "assistant", "content": said(rng)})
        if rng.random() < 0.5:
            messages[-1]["reasoning_content"] = said(rng)
    return messages


def outcome(render, messages, variables):
    try:
        return render(messages, None, **variables)
    except RowError as error:
        return error.code, error.detail


@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_text_and_spans_are_those_of_the_template(name):
    template, rng = templates.get(name), random.Random(name)
    for _ in range(60):
        messages = chat(rng)
        variables = NAMES | ({"enable_thinking": rng.random() < 0.5} if template.thinking != "none" else {})
        by_parts = outcome(lambda *a, **k: parts.render(template, *a, **k), messages, variables)
        assert by_parts == outcome(template.render, messages, variables)


@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_every_template_of_ours_has_parts(name):
    """None means that the template looks into texts: then each chat is rendered anew, right and slowly."""
    shape = (("user", False), ("assistant", False), ("user", False), ("assistant", False))
    assert parts.layout_of(templates.get(name), shape, tuple(NAMES.items())) is not None


def test_a_template_is_asked_once_for_a_succession_of_roles(monkeypatch):
    module = sys.modules["bedside.templates.template"]
    asked = []
    real = module.render
    monkeypatch.setattr(module, "render", lambda *a, **k: asked.append(1) or real(*a, **k))
    parts.layout_of.cache_clear()
    for text in ("a", " b ", "c\n"):
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        assert parts.render(templates.get("chatml"), turns, None, **NAMES).text.count(text.strip()) >= 2
    assert len(asked) == 1


def test_a_foreign_template_is_always_rendered():
    own = templates.own("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    assert parts.render(own, [{"role": "user", "content": "a"}], None).text == "A"


def test_a_template_that_trims_in_a_way_of_its_own_has_no_parts():
    lines = "{% for m in messages %}{{ m.content.strip('\\n') }}{% endfor %}"
    assert parts.layout_of(templates.own(lines), (("user", False),), ()) is None
    plain = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    assert parts.layout_of(templates.own(plain), (("user", False),), ()).parts == ("[", 0, "]")
