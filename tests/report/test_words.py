"""Words of a language: how numbers are put into them, and that all languages of a folder say the same things."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest

import trainer
from trainer.show.words import MOST_LISTED, Words, languages_in, words_in

HOME = Path(trainer.__file__).parent
FOLDERS = [HOME / "report" / "text", HOME / "ui" / "text"]
EN = words_in(FOLDERS[0], "en")


def put(form: str, value: Any) -> str:
    table = {key: EN(key) for key in EN.keys()}  # noqa: SIM118
    return Words("en", table | {"x": f"{{value:{form}}}"})("x", value=value)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("number", 0.01234, "0.0123"),
        ("number", 12_345.6, "12,346"),
        ("number", None, "n/a"),
        ("percent", 0.874, "87 %"),
        ("points", 0.094, "9 points"),
        ("gib", 21.44, "21.4 GiB"),
        ("times", 2.06, "2.1"),
        ("times", 130.4, "130"),
        ("plain", 1024, "1,024"),
        ("plain", 0.5, "0.5"),
        ("duration", 0.4, "0.40 s"),
        ("duration", 34.2, "34 s"),
        ("duration", 600, "10 min"),
        ("duration", 7_500, "2 h 05 min"),
        ("duration", 3_599, "1 h 00 min"),
        ("duration", None, "n/a"),
        ("list", [5, 45, 1_078], "5, 45, 1,078"),
        ("list", [], ""),
        ("word", "generate", "generation"),
        ("g", 5e-7, "5e-07"),
        ("", "text", "text"),
    ],
)
def test_a_number_is_written_by_what_it_means(form: str, value: Any, text: str) -> None:
    assert put(form, value) == text


def test_of_a_long_list_the_rest_is_counted() -> None:
    assert put("list", list(range(1, MOST_LISTED + 1))).endswith(f", {MOST_LISTED}")
    assert put("list", list(range(1, MOST_LISTED + 4))).endswith(f", {MOST_LISTED} and 3 more")


def test_a_value_that_is_missing_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(KeyError):
        EN("finding.kl.far", now=1.0)
    with pytest.raises(KeyError):
        EN("finding.kl.nonsense")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_language_has_the_same_words_with_the_same_values(folder: Path) -> None:
    def fields(text: str) -> list[tuple[str, str | None]]:
        return sorted((name, form) for _, name, form, _ in string.Formatter().parse(text) if name)

    known = languages_in(folder)
    assert known[:1] == ("en",) and "ko" in known
    english = words_in(folder, "en")
    for language in known[1:]:
        other = words_in(folder, language)
        # Help on settings: in English the docstrings of the spec are the words (tests/ui/train/test_fields.py).
        assert {key for key in other.keys() if not key.startswith("help.")} == english.keys()  # noqa: SIM118
        for key in english.keys():  # noqa: SIM118
            assert fields(other(key)) == fields(english(key)), key


def test_a_language_nobody_wrote_is_the_default() -> None:
    assert words_in(FOLDERS[0], "xx").language == "en"
