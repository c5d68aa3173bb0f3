"""The Korean page in a real browser: runs that went wrong and a form with mistakes, without English; a Korean file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import latin
from tests.e2e.browser.conftest import Site, open_tab, set_field, setting, settle, start_button, tab_names, unfold
from tests.e2e.served import TITLE, make_runs
from trainer.text import words

PATIENCE_S = 10.0
KO = words("ko")
KNOWN = (TITLE, "Synthetic", "Hugging Face Hub")
# What is on the screen, as HTML: the browser's own state of what is unfolded and hidden is the page's. Without what is
# said to be English: the reasons that stand in the file of a preset.
SHOWN = """(() => {
    const all = document.querySelector('gradio-app').cloneNode(true);
    for (const one of all.querySelectorAll('[lang=en]')) one.remove();
    return all.innerHTML;
})()"""


@pytest.fixture(scope="module", autouse=True)
def _made(site: Site) -> Iterator[None]:
    make_runs(site.outputs)
    yield


@pytest.mark.slow
def test_every_tab_of_a_run_is_korean(site: Site, new_page: Any) -> None:
    """Of one run that went wrong: tests/e2e/test_korean_page.py reads what is told of all others."""
    page = new_page(site, lang="ko", run="failed")
    found: dict[str, list[str]] = {}
    for name in tab_names(page):
        open_tab(page, name)
        settle(page)
        unfold(page)
        found |= {name: english} if (english := left_in_english(page)) else {}
    assert not found, "\n".join(f"{name}: {english}" for name, english in found.items())


def test_a_form_with_mistakes_is_korean(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, lang="ko", tab="train")
    expect(start_button(page)).to_be_enabled()
    for key, value in (
        ("optim.learning_rate", "abc"),
        ("generation.num_generations", "7"),
        ("data.path", "/no/x.jsonl"),
    ):
        set_field(page, key, value)
    expect(page.locator(".g-wrong").first).to_be_visible()
    settle(page)
    assert left_in_english(page) == []


def test_a_file_that_is_named_is_read_in_its_own_encoding(site: Site, new_page: Any, tmp_path: Path) -> None:
    """A sheet as a Korean Windows saves it: seen when its path has been typed."""
    from playwright.sync_api import expect

    rows = "".join(f"{number}\ubc88: \uc11c\uc6b8\uc740 \uc5b4\ub514?,{number}\n" for number in range(40))
    file = tmp_path / "sheet.csv"
    file.write_bytes(f"prompt,answer\n{rows}".encode("cp949"))
    page = new_page(site, lang="ko", tab="train")
    expect(start_button(page)).to_be_enabled()
    set_field(page, "data.path", str(file))
    setting(page, "data.path").press("Tab")
    expect(setting(page, "data.encoding")).to_have_value("cp949")
    expect(page.locator('[data-slot="looked"]')).to_contain_text("0\ubc88: \uc11c\uc6b8\uc740 \uc5b4\ub514?")
    expect(start_button(page)).to_be_enabled()
    expect(page.locator('[data-slot="command"]')).to_contain_text("--set data.encoding=cp949")


def left_in_english(page: Any) -> list[str]:
    """Sentences that stay: the first words of a page are English until the server has told the browser's language."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := latin.sentences(page.evaluate(SHOWN), KNOWN)) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found
