"""Text of a model stays text, and what nobody sees is named."""

from __future__ import annotations

import html
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from trainer.ui.groups.safe_text import inert, plain

HOSTILE = "<script>alert(1)</script> ![x](http://evil/x.png) {{value}} ${value} `x` \"'&"
ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)


@given(ANY)
def test_no_text_leaves_markup_or_what_a_browser_can_not_be_sent(text: str) -> None:
    shown = inert(text)
    json.dumps(shown).encode("utf-8")
    shown.encode("utf-8")
    bare = shown
    for tag in ('<i class="gg-unseen">', "</i>"):
        bare = bare.replace(tag, "")
    assert not set("<>{}$`\"'") & set(bare)
    assert not re.search("[\\x00-\\x08\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]", shown)


@given(st.text(alphabet=st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=200))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert html.unescape(inert(text)) == text


@given(ANY, st.integers(1, 50))
def test_one_line_of_bounded_length(text: str, most: int) -> None:
    line = plain(text, most)
    assert len(line) <= most + 1
    assert "\n" not in line
    line.encode("utf-8")


def test_unseen_characters_are_named_once_a_run() -> None:
    assert inert("a\u202eb") == 'a<i class="gg-unseen">U+202E</i>b'
    assert inert("\u200b" * 5000) == '<i class="gg-unseen">U+200B\u00d75000</i>'
    assert inert("\ud800") == '<i class="gg-unseen">U+D800</i>'
    assert plain("a\u200bb\nc", 20) == "a[U+200B]b c"


def test_white_space_of_a_text_is_kept() -> None:
    assert inert("  a\tb\r\nc\n\n") == "  a\tb\nc\n\n"


def test_pictures_that_are_joined_stay_joined() -> None:
    family = "\U0001f468\u200d\U0001f469"
    assert inert(family) == family
    assert "U+200D" in inert("a\u200db")


def test_what_templates_would_read_is_escaped() -> None:
    shown = inert(HOSTILE)
    assert "<script" not in shown and "{{" not in shown and "${" not in shown and "`" not in shown
