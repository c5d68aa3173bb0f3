"""All words of page, console and report: one file a language, all with the same keys. A new language is a new file.

    words      the words of a language; Message: what is said as a key with values, until somebody reads it
    chain      several messages as one              forms   how numbers, times and foreign text are written
    particles  those of Korean that fit a value     layout  columns of a terminal

Standard library only.
"""

from __future__ import annotations

import os

from trainer.text.words import DEFAULT, Message, Words, languages, readable, storable, words

__all__ = [
    "DEFAULT", "LANGUAGE_VARIABLE", "Message", "Words", "here", "languages", "preferred", "readable", "storable",
    "words",
]  # fmt: skip

LANGUAGE_VARIABLE = "ONEGRPO_LANG"


def here() -> Words:
    """The words of this terminal: $ONEGRPO_LANG (what --lang sets), else LC_ALL, LC_MESSAGES or LANG."""
    names = (LANGUAGE_VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG")
    named = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return words(named.partition("_")[0].partition(".")[0].lower())


def preferred(accept_language: str) -> str:
    """The best known language of an Accept-Language header: `ko-KR,ko;q=0.9,en;q=0.8` is ko."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language[:200].split(","):
        tag, _, rest = part.strip().partition(";")
        try:
            quality = float(rest.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        wanted.append((quality, tag.partition("-")[0].lower()))
    found = [(quality, tag) for quality, tag in wanted if tag in languages() and quality > 0]
    return max(found, key=lambda pair: pair[0], default=(0.0, DEFAULT))[1]
