"""All words of the page, one file per language, and which language a browser asks for.

A new language is a new file beside en.toml with the same keys.
"""

from __future__ import annotations

from pathlib import Path

from trainer.show.words import DEFAULT, Words, languages_in, words_in

__all__ = ["DEFAULT", "Words", "languages", "preferred", "words"]

_FOLDER = Path(__file__).parent


def words(language: str) -> Words:
    """The words of a language; of the default one when there is no such language."""
    return words_in(_FOLDER, language)


def languages() -> tuple[str, ...]:
    """Codes of all languages, the default first."""
    return languages_in(_FOLDER)


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
    known = [(quality, tag) for quality, tag in wanted if tag in languages() and quality > 0]
    return max(known, key=lambda pair: pair[0], default=(0.0, DEFAULT))[1]
