"""The detector of English sentences finds one, and takes names, commands and foreign texts for none."""

from __future__ import annotations

import pytest

from tests import latin


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<p>the run has ended</p>", ["the run has ended"]),
        ("<li><b>optim.learning_rate</b> is not a number</li>", ["is not a number"]),
        ('<button title="Take it back">x</button>', ["Take it back"]),
        ('<div class="g-fix">\uc785\ub825: <code>fewer rows of them</code></div>', ["fewer rows of them"]),
        ("<p>\uac12\uc774 is not <b>one of</b> \uadf8\uac83</p>", ["is not one of"]),
        ("<p>what: it failed here</p>", ["what: it failed here"]),
        ("<td>one</td><td>two</td><td>three</td>", []),
        ("<p>data.path, reward.correct, lora.r</p>", []),
        ("<p>\ub2e4\uc74c\uc744 \uc785\ub825\ud558\uc138\uc694: python -m trainer report tiny-1</p>", []),
        ("<p>hf auth login\uc5d0\uc11c \uc77d\uc2b5\ub2c8\ub2e4</p>", []),
        ("<p>Hugging Face Hub\uc5d0 \uc62c\ub9ac\uae30</p>", []),
        ("<code>not a fix at all</code><pre>nor a log line</pre>", []),
        ('<div class="gg-text">what the model wrote</div>', []),
        ("<p>\uc2e4\ud589 A small one \uc744 \uc9c0\uc6e0\uc2b5\ub2c8\ub2e4</p>", []),
    ],
)
def test_what_is_a_sentence(html: str, found: list[str]) -> None:
    assert latin.sentences(html, known=["A small one"]) == found
