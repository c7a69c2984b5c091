"""Text for a page: HTML shown as text, dead links, no images, ordinary Markdown untouched.

sh run_tests.sh tests/chatpage/test_safe.py
"""

import pytest

from bedside.chatpage import safe


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("[x](javascript:alert(1))", "[x&#93;(javascript:alert(1))"),
        ("[x](JaVa&#115;cript:y)", "[x&#93;(JaVa&amp;#115;cript:y)"),
        ("[x]( javascript\\:y)", "[x&#93;( javascript\\:y)"),
        ("[x](data:text/html,y)", "[x&#93;(data:text/html,y)"),
        ("[x](/gradio_api/file=a)", "[x&#93;(/gradio_api/file=a)"),
        ("[x](<javascript:y>)", "[x&#93;(&lt;javascript:y&gt;)"),
        ("[x]: javascript:y", "[x&#93;: javascript:y"),
        ("![x](https://a.example/b.png)", "&#33;[x](https://a.example/b.png)"),
        ("![x][y]", "&#33;[x][y]"),
        ("\\<b>", "&lt;b&gt;"),
        ("$x$", "&#36;x&#36;"),
        ("`<img src=x>`", "`<\u2060img src=x>`"),
        (
            "```\n<img> ![a](b) [c](javascript:d)\n```",
            "```\n<\u2060img> !\u2060[a]\u2060(b) [c]\u2060(javascript:d)\n```",
        ),
        ("```html\n<script>", "```html\n<\u2060script>"),
        ("```\na\n```\n<b>", "```\na\n```\n&lt;b&gt;"),
        ("`a\n\n<b>`", "`a\n\n&lt;b&gt;`"),
        ("a\x00b\x1b[31m\u202ec", "ab[31mc"),
        ("\ud800", "\ufffd"),
    ],
)
def test_what_could_act_is_inert(text, inert):
    assert safe.markdown(text) == inert


@pytest.mark.parametrize(
    "text",
    [
        "**bold** and *soft*",
        "1. one\n2. two\n   - deep",
        "| a | b |\n| --- | --- |\n| 1 | 2 |",
        "[page](https://example.org/a?b=1) [mail](mailto:a@b.example)",
        "> quoted\n> > twice",
        "```python\nif a < b and c & d:\n    print([1](2) if 0 else 1)\n```".replace("[1](2)", "[1][0]"),
        "`a < b`",
        "体温 38.5 ℃，多喝水。\n\n- 休息",
    ],
)
def test_ordinary_markdown_stays(text):
    assert safe.markdown(text) == text


def test_plain_text_for_html():
    assert safe.escaped("<b>'\"&\x07") == "&lt;b&gt;&#x27;&quot;&amp;"


def test_every_beginning_of_an_attack_is_inert_too():
    """A page shows the text while it is written: no prefix may open what the whole closes."""
    whole = "a `<img src=x onerror=y>` ```\n<script>z</script>\n``` <iframe> ![i](https://a/b) [j](javascript:k)"
    for size in range(len(whole)):
        shown = safe.markdown(whole[:size])
        assert not any(tag in shown for tag in ("<img", "<script", "<iframe", "</", "](java", "![")), shown
