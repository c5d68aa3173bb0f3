"""Text as HTML: nothing in it is markup, and any of it can be sent."""

from __future__ import annotations

import pytest

from trainer.show.markup import element, escape


@pytest.mark.parametrize("half", ["\ud800", "a\udfffb", "\udc00\ud800", "\U0001f600\ud83d"])
def test_half_of_a_pair_can_be_sent(half: str) -> None:
    """A browser may send one in JSON; an answer that holds it could not be encoded, and would break off."""
    assert "\ufffd" in escape(half).encode("utf-8").decode("utf-8")
    assert "\ufffd" in element("p", half)


def test_whole_characters_stay_as_they_are() -> None:
    text = "\U0001f600 \uac00 \ufffd\uffff\ue000"
    assert escape(text) == text
