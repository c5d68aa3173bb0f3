"""What is clicked on is done, whatever the page draws meanwhile."""

from __future__ import annotations

from typing import Any

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import Site

# What an answer of the server does that comes between the press and the release.
_DRAW_AGAIN = "table => { table.innerHTML = table.innerHTML; }"


def test_a_button_that_is_drawn_again_while_it_is_pressed_is_clicked_once(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    write_run(site.outputs, "tiny-1", finished())
    page = new_page(site, lang="en", tab="runs")
    box = page.locator('.g-tick[data-run="tiny-1"]')
    for checked in ("true", "false"):
        box.hover()
        page.mouse.down()
        page.locator(".g-table tbody").evaluate(_DRAW_AGAIN)
        page.mouse.up()
        expect(box).to_have_attribute("aria-checked", checked)
        expect(page.locator(".g-table [data-do=untick]")).to_have_count(int(checked == "true"))


def test_a_press_that_ends_on_another_button_is_no_click(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    for name in ("tiny-1", "tiny-2"):
        if not (site.outputs / name).exists():
            write_run(site.outputs, name, finished())
    page = new_page(site, lang="en", tab="runs")
    boxes = [page.locator(f'.g-tick[data-run="{name}"]') for name in ("tiny-1", "tiny-2")]
    expect(boxes[1]).to_be_visible()
    boxes[0].hover()
    page.mouse.down()
    page.locator(".g-table tbody").evaluate(_DRAW_AGAIN)
    boxes[1].hover()
    page.mouse.up()
    page.wait_for_timeout(300)
    for box in boxes:
        expect(box).to_have_attribute("aria-checked", "false")
