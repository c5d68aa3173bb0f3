"""The server forgot the page that waits for its answer.

Gradio 6 (`queue_data` in gradio/routes.py) deletes the messages of a session when one of its streams is cancelled, also
those of a request that has just begun. The browser is told that the session is not known; Gradio's page then says that
the connection was lost, asks every two seconds whether the server is there, and loads itself again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import WAIT_S, Site, settle
from tests.ui.groups.made import line, run_with_groups

_FORGOTTEN = '{"msg": "unexpected_error", "message": "404: Not Found", "session_not_found": true, "success": false}'


def forget_once(page: Any) -> Callable[[], bool]:
    """The next answer of the server is that it does not know the page. Tells whether that was said."""
    told: list[str] = []

    def answer(route: Any) -> None:
        if told:
            route.continue_()
            return
        told.append(route.request.url)
        route.fulfill(status=200, content_type="text/event-stream", body=f"data: {_FORGOTTEN}\n\n")

    page.route("**/queue/data*", answer)
    return lambda: bool(told)


def come_back(page: Any) -> None:
    """Forgotten by the server, the page loads itself again, without anybody doing something."""
    # Not expect_navigation: a change of the address by the page itself counts as one.
    with page.expect_event("domcontentloaded", timeout=1000 * WAIT_S):
        was_told = forget_once(page)
    assert was_told()
    page.wait_for_function("window.pageOpened === true")


def test_groups_come_back_where_they_were_and_go_on(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    run_with_groups(site.outputs, "lost-1", {step: [line(f"asked {step}")] for step in range(1, 5)})
    write_run(site.outputs, "lost-2", finished())  # the newest: what a page shows that is not asked for a run
    page = new_page(site, lang="ko", tab="groups", run="lost-1", step="2")
    expect(page.locator(".gg-prompt").first).to_have_text("asked 2")
    come_back(page)
    expect(page.locator(".gg-prompt").first).to_have_text("asked 2")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    settle(page)  # it ticks
    page.locator('[data-move="next"]').click()
    expect(page.locator(".gg-prompt").first).to_have_text("asked 3")


def test_what_was_typed_on_train_is_there_again(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, lang="en", tab="train")
    name = page.locator("[data-name]")
    name.fill("not-yet-started")
    settle(page)
    come_back(page)
    expect(name).to_have_value("not-yet-started")
    expect(page.locator("[data-start]")).to_be_enabled()
