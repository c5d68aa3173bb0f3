"""What docs/page.md and the README call a tab, a button or a label of the page is what the page says."""

from __future__ import annotations

import re

from tests.docs.reading import page
from trainer.text import words

_LABEL = re.compile(r"(?<![*\w])\*([A-Z][^*\n]+)\*(?!\*)")
_BUTTON = re.compile(r"^\| ([A-Z][a-z ]+) \|", re.MULTILINE)


def labels(text: str) -> set[str]:
    """In italics, and the first column of the table of buttons."""
    return {label.strip() for label in _LABEL.findall(text) + _BUTTON.findall(text)}


def wrong(text: str) -> list[str]:
    english = words("en")
    said = [english(key) for key in english.keys() if not key.startswith(("problem.", "report."))]  # noqa: SIM118
    return sorted(label for label in labels(text) if not any(each.startswith(label) for each in said))


def test_labels_are_those_of_the_page() -> None:
    assert len(labels(page("docs/page.md"))) > 10
    assert wrong(page("docs/page.md")) == []
    assert wrong(page("README.md").split("## What a run leaves")[0]) == []


def test_a_label_that_is_not_there_is_found() -> None:
    assert wrong("Press *Start the run*, then *Train*.\n| Pause for ever | x |\n") == [
        "Pause for ever",
        "Start the run",
    ]
