"""Recipes in a real browser: ticked, seen, over-ruled by hand, kept over a reload, taken back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser.conftest import Site, set_field, setting


@pytest.mark.slow
def test_a_recipe_is_ticked_and_what_is_set_by_hand_wins_over_it(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, tab="train")
    page.locator('[data-part="recipes"] > summary').click()
    page.locator('[data-recipe="dapo"]').check()
    told = page.locator('[data-slot="recipes"]')
    expect(told).to_contain_text("grpo.mask_truncated_completions: false -> true")
    expect(setting(page, "grpo.epsilon_high")).to_have_value("0.28")

    set_field(page, "grpo.epsilon_high", "0.3")
    expect(told).to_contain_text("but set by hand to 0.3")
    command = page.locator('[data-slot="command"]')
    expect(command).to_have_text("python app.py --headless --preset tiny --recipe dapo --set grpo.epsilon_high=0.3")
    page.locator('[data-recipe="rloo"]').check()  # the later one holds
    expect(setting(page, "grpo.loss_type")).to_have_value("dr_grpo")

    page.reload()
    expect(told).to_contain_text("but set by hand to 0.3")
    assert page.locator('[data-recipe="dapo"]').is_checked() and page.locator('[data-recipe="rloo"]').is_checked()

    page.locator("[data-undo-all]").click()
    expect(told).to_have_text("")
    expect(setting(page, "grpo.epsilon_high")).to_have_value("")
    assert not page.locator('[data-recipe="dapo"]').is_checked()
