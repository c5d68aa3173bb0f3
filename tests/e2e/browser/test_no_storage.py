"""A browser that lets pages store nothing (all cookies refused): reading localStorage is an error there."""

from __future__ import annotations

from typing import Any

from tests.e2e.browser.conftest import Site, visit

REFUSED = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, {get() { throw new DOMException("Access is denied", "SecurityError"); }});"""


def test_without_storage_the_page_opens_where_it_was_asked_to_and_its_links_turn(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, lang="en")
    page.context.add_init_script(REFUSED)
    visit(page, site, lang="en", tab="health")  # an error of a script fails the test (conftest.py)
    expect(page.get_by_role("tab", name="Health", exact=True)).to_have_attribute("aria-selected", "true")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<button data-turn=runs id=turning>to runs</button>')")
    page.locator("#turning").evaluate("button => button.click()")
    expect(page.get_by_role("tab", name="Runs", exact=True)).to_have_attribute("aria-selected", "true")
