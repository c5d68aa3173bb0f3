"""The frame that stands there before Gradio's scripts have run."""

from __future__ import annotations

from typing import Any

from tests.ui.conftest import Server
from trainer.text import words
from trainer.ui import opening

NO_QUERY: dict[str, Any] = {}


def test_the_first_answer_shows_the_page_in_the_languages_words(server: Server) -> None:
    """Fails when Gradio's template has no place for it any more."""
    for language in ("en", "ko"):
        status, text, _ = server.ask("GET", f"/?lang={language}")
        assert status == 200 and text.index('id="g-opening"') < text.index(opening.BEFORE)
        assert words(language)("train.lead") in text.partition(opening.BEFORE)[0]


def test_the_language_is_the_addresss_else_the_browsers() -> None:
    assert opening.language({"lang": "ko"}, {"accept-language": "en"}) == "ko"
    assert opening.language({"lang": "xx"}, {"accept-language": "ko-KR"}) == "ko"
    assert opening.language(NO_QUERY, NO_QUERY) == "en"


def test_before_the_login_nothing_covers_it() -> None:
    assert opening._opening(None, {"auth_required": True}) == ""
