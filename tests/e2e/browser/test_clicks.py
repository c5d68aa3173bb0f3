"""What is clicked on is done, whatever the page draws meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import Site, open_tab, tab_names

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


# Every tab that is shown, in order, from here on.
_FOLLOW = """() => {
    window.shown = [];
    const note = () => {
        const now = document.querySelector('[role=tab][aria-selected=true]')?.textContent.trim();
        if (now && now !== window.shown.at(-1)) window.shown.push(now);
    };
    note();
    new MutationObserver(note).observe(document.querySelector('[role=tablist]'),
        {attributes: true, subtree: true, attributeFilter: ['aria-selected']});
}"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # two slow cores that draw without a GPU
def test_of_two_hundred_clicks_on_tabs_none_is_lost_and_none_comes_back(site: Site, new_page: Any) -> None:
    for name in ("tiny-1", "tiny-2"):
        if not (site.outputs / name).exists():
            write_run(site.outputs, name, finished())
    page = new_page(site, lang="en", run="tiny-1")
    names, chance = tab_names(page), random.Random(0)
    page.evaluate(_FOLLOW)
    clicked = [names[0]]
    for _ in range(200):
        name = chance.choice([name for name in names if name != clicked[-1]])
        page.get_by_role("tab", name=name, exact=True).click()
        clicked.append(name)
        page.wait_for_timeout(chance.randint(50, 800))
    page.wait_for_timeout(3000)
    shown, left = page.evaluate("window.shown"), iter(clicked)
    # A busy browser may pass over one that was left again at once; one that comes back is not in order.
    assert all(name in left for name in shown), (shown, clicked)
    assert shown[-1] == clicked[-1]
    assert len(shown) > len(clicked) / 2


def test_a_tab_that_is_clicked_before_the_page_has_been_told_anything_stays(site: Site, new_page: Any) -> None:
    page = new_page(site, lang="en")
    slow = {"offline": False, "latency": 700, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.goto(site.address(lang="en", tab="live"), wait_until="commit")
    tab = page.get_by_role("tab", name="Runs", exact=True)
    tab.click()
    page.evaluate(_FOLLOW)
    assert not page.evaluate("window.pageOpened === true")
    page.wait_for_function("window.pageOpened === true")
    page.wait_for_url("**tab=runs**")
    assert page.evaluate("window.shown") == ["Runs"]


def test_back_and_forward_move_between_tabs_and_runs(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    for name in ("tiny-1", "tiny-2"):
        if not (site.outputs / name).exists():
            write_run(site.outputs, name, finished())
    page = new_page(site, lang="en", run="tiny-1", tab="live")
    open_tab(page, "Groups")
    page.wait_for_url("**tab=groups**")
    open_tab(page, "Runs")
    page.wait_for_url("**tab=runs**")
    page.locator('[data-do="open"][data-run="tiny-2"]').click()
    page.wait_for_url("**run=tiny-2**tab=live**")
    ways = [("tiny-1", "Runs"), ("tiny-1", "Groups"), ("tiny-1", "Live")]
    for move, seen in ((page.go_back, ways), (page.go_forward, [*ways[1::-1], ("tiny-2", "Live")])):
        for run, tab in seen:
            move()
            expect(page.get_by_role("tab", name=tab, exact=True)).to_have_attribute("aria-selected", "true")
            page.wait_for_function("run => document.querySelector('#run textarea, #run input').value === run", arg=run)
            page.wait_for_timeout(100)  # what is written into the address comes a moment later
            assert f"run={run}&tab={tab.lower()}" in page.url
