"""What a verifier is given is what the generator made: JSON alone would make lists of tuples."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from trainer.tasks import entries


@pytest.mark.parametrize(
    "entry",
    [
        {"grid": ((0, 1), (2, 3)), "names": ["a", ("b",)]},
        {"edges": {0: [1, 2], (1, 2): "both"}, "none": None, "share": 0.5, "yes": True},
        {"text": '\ud55c\uae00 "quoted" \u2028', "empty": {}, "nothing": ()},
    ],
)
def test_an_entry_comes_back_as_it_was(entry: dict[str, Any]) -> None:
    found = entries.read(entries.written(entry))
    assert found == entry and repr(found) == repr(entry)


def test_what_json_has_no_form_for_becomes_its_text() -> None:
    assert entries.read(entries.written({"day": datetime.date(2026, 1, 2)})) == {"day": "2026-01-02"}
