"""The page opens every tab in both languages, and loads nothing heavy for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import NARROW, TABS, WIDE, Site, open_tab, tab_names
from tests.ui.conftest import end_server, start_server

HEAVY = {"torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets"}
# Python runs this before anything else when it is found; its file names all that was imported when the process ended.
NOTES = """
import atexit, json, os, sys

def note():
    with open(os.path.join({folder!r}, f"{{os.getpid()}}.json"), "w") as file:
        json.dump(sorted(sys.modules), file)

atexit.register(note)
"""


# A load costs seconds of the processor: every two of the three meet, and the narrow one, where most can be too wide,
# is looked at by `make test` (test_accessible.py opens all tabs of an English, light and wide one).
@pytest.mark.parametrize(
    ("language", "scheme", "size"),
    [
        pytest.param("en", "light", WIDE, marks=pytest.mark.slow),
        pytest.param("en", "dark", NARROW, marks=pytest.mark.slow),
        ("ko", "light", NARROW),
        pytest.param("ko", "dark", WIDE, marks=pytest.mark.slow),
    ],
    ids=["en-light-wide", "en-dark-narrow", "ko-light-narrow", "ko-dark-wide"],
)
def test_without_a_run_every_tab_opens(site: Site, new_page: Any, language: str, scheme: str, size: Any) -> None:
    page = new_page(site, size=size, scheme=scheme, lang=language)
    page.wait_for_function("language => document.documentElement.lang === language", arg=language, timeout=8000)
    names = tab_names(page)
    assert len(names) == len(TABS)
    for name in names:
        open_tab(page, name)
        page.wait_for_timeout(300)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels wider than the screen"


@pytest.mark.parametrize("language", ["en", "ko"])
def test_all_tabs_fit_a_phone_also_after_it_was_turned(site: Site, new_page: Any, language: str) -> None:
    page = new_page(site, size=NARROW, lang=language)
    page.wait_for_function("language => document.documentElement.lang === language", arg=language)
    for width in (390, 320, 844, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(500)
        right = [tab.bounding_box() for tab in page.locator('[role="tab"]:visible').all()]
        assert len(right) == len(TABS), width
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in right), (width, right)


@pytest.mark.slow  # tests/ui/test_page.py builds the page and asks its form without a browser
def test_after_all_tabs_were_used_nothing_heavy_is_loaded(tmp_path: Path, browser: Any, new_page: Any) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "sitecustomize.py").write_text(NOTES.format(folder=str(notes)), "utf-8")
    (tmp_path / "outputs").mkdir()
    write_run(tmp_path / "outputs", "tiny-1", finished())
    server = start_server(tmp_path, PYTHONPATH=str(notes))
    try:
        page = new_page(Site(tmp_path, server, {}), run="tiny-1")
        for name in tab_names(page):
            open_tab(page, name)
            page.wait_for_timeout(1000)  # a tick of the page
        page.context.close()
    finally:
        end_server(server)
    loaded = set(json.loads((notes / f"{server.process.pid}.json").read_text("utf-8")))
    assert "gradio" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
