"""Words of a language: how numbers are put into them, and that all languages of a folder say the same things."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest

from trainer.text import LANGUAGE_VARIABLE, here
from trainer.text.particles import PARTICLES, with_particle
from trainer.text.words import MOST_LISTED, Message, Words, languages, words

EN = words("en").under("report")


def put(form: str, value: Any) -> str:
    table = {key: EN(key) for key in EN.keys()}  # noqa: SIM118
    return Words("en", table | {"x": f"{{value:{form}}}"}, "report.")("x", value=value)


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
        ("plain", 1_000_000, "1,000,000"),
        ("plain", 1_234_567.0, "1,234,567"),
        ("plain", 5e-7, "5e-07"),
        ("duration", 0.4, "0.40 s"),
        ("duration", 34.2, "34 s"),
        ("duration", 600, "10 min"),
        ("duration", 7_500, "2 h 05 min"),
        ("duration", 3_599, "1 h 00 min"),
        ("duration", None, "n/a"),
        ("list", [5, 45, 1_078], "5, 45, 1,078"),
        ("list", [], ""),
        ("all", list(range(995, 1005)), "995, 996, 997, 998, 999, 1000, 1001, 1002, 1003, 1004"),
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


def test_every_language_has_the_same_words_with_the_same_values() -> None:
    def fields(text: str) -> list[tuple[str, str | None]]:
        parts = [(name, form) for _, name, form, _ in string.Formatter().parse(text) if name]
        return sorted({(name, "" if form in PARTICLES else form) for name, form in parts})

    known = languages()
    assert known[:1] == ("en",) and "ko" in known
    english = words("en")
    for language in known[1:]:
        other = words(language)
        # In English the docstrings of the spec are the help, and comments of the presets the reasons
        # (tests/ui/train/test_fields.py, test_cards.py).
        assert {key for key in other.keys() if not key.startswith(("help.", "reason."))} == english.keys()  # noqa: SIM118
        for key in english.keys():  # noqa: SIM118
            assert fields(other(key)) == fields(english(key)), key


def test_a_language_nobody_wrote_is_the_default() -> None:
    assert words("xx").language == "en"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "fr_FR"}, "en"),
        ({"LANG": "C.UTF-8", LANGUAGE_VARIABLE: "ko"}, "ko"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_machines(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (LANGUAGE_VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert here().language == language


def test_a_message_is_said_in_the_language_of_who_reads_it() -> None:
    inner = Message("status.finished")
    message = Message("list.or", shown=inner, last=3)
    assert (str(message), words("ko").said(message)) == ("finished or 3", "\uc644\ub8cc \ub610\ub294 3")
    assert Message.read(json.loads(json.dumps(message.stored()))) == message


def test_a_particle_fits_a_message_as_well() -> None:
    ko = words("ko")
    table = {key: ko(key) for key in ko.keys()} | {"x": "{what:\uc740}"}  # noqa: SIM118
    assert Words("ko", table)("x", what=Message("status.finished")) == "\uc644\ub8cc\ub294"


def test_a_message_whose_key_is_gone_is_said_as_it_was() -> None:
    stored = {"key": "of.another.version", "values": {"n": 1}, "text": "what it said"}
    assert words("ko").said(Message.read(stored)) == "what it said"
    assert str(Message.read("plain text of an old run")) == "plain text of an old run"
    assert str(Message.read(None)) == ""


@pytest.mark.parametrize(
    ("word", "particle", "text"),
    [
        ("\ud30c\uc77c", "\ub97c", "\ud30c\uc77c\uc744"),  # a consonant at the end
        ("\ub370\uc774\ud130", "\uc744", "\ub370\uc774\ud130\ub97c"),  # a vowel
        ("\ud30c\uc77c", "\uc73c\ub85c", "\ud30c\uc77c\ub85c"),  # rieul takes the short form of "by"
        ("tiny-1", "\uc774", "tiny-1\uc774"),  # il
        ("tiny-2", "\uc774", "tiny-2\uac00"),  # i
        ("\u201ctiny-3\u201d", "\uc740", "\u201ctiny-3\u201d\uc740"),  # what is in quotes counts
        ("model", "\uc740", "model\uc740"),
        ("data", "\uc740", "data\ub294"),
        ("", "\uc740", "\ub294"),
    ],
)
def test_a_particle_fits_the_word_before_it(word: str, particle: str, text: str) -> None:
    assert with_particle(word, particle) == text
