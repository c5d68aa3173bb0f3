"""Scrubbing through groups of episodes and of plans: what is shown is of the step that was asked for."""

from __future__ import annotations

from typing import Any

from tests.e2e.browser.conftest import NARROW, Site
from tests.ui.groups.made import HOSTILE, carried, completion, line, run_with_groups, two_plans

STEPS = 6


def _played(step: int) -> list[dict[str, Any]]:
    """Two turns, each with its reward and its advantage; the answers name the step."""
    turns = [
        {
            "said": f"begin {step}",
            "thought": f"perhaps {step}",
            "calls": [[f"guess(number={step})", f"more than {step}"]],
            "reward": step / 10,
            "advantage": -step / 10,
        },
        {"said": f"done {step}", "calls": [], "reward": 1.0, "advantage": step / 5},
    ]
    other = [{"said": f"no {step}", "calls": [["guess(number=0)", None]], "reward": None, "advantage": -1.0}]
    return [
        line("Guess it.", [completion(f"a{step}", turns=turns), completion(f"b{step}", 0.0, turns=other)]),
        line(f"Other {step}", [completion(f"c{step}"), completion(f"d{step}", 0.0)], group=1, std=0.1),
    ]


def _expect_transcript(page: Any, step: int) -> None:
    from playwright.sync_api import expect

    expect(page.locator(".gg-at")).to_have_text(f"Step {step} \u00b7 {step} of {STEPS}")
    card = page.locator(".gg-card").first
    first, second = card.locator(".gg-step").nth(0), card.locator(".gg-step").nth(1)
    expect(first.locator(".gg-thought")).to_contain_text(f"perhaps {step}")
    expect(first.locator(".gg-said")).to_have_text(f"begin {step}")
    expect(first.locator(".gg-call")).to_have_text(f"guess(number={step})")
    expect(first.locator(".gg-answer")).to_have_text(f"more than {step}")
    expect(first.locator(".gg-step-head")).to_contain_text(f"turn 1: 0.{step}00")
    expect(first.locator(".gg-step-head .gg-down")).to_have_text(f"\u22120.{step}0 less likely")
    expect(second.locator(".gg-said")).to_have_text(f"done {step}")
    expect(second.locator(".gg-step-head .gg-up")).to_have_text(f"+{step / 5:.2f} more likely")
    expect(page.locator(".gg-card").nth(1).locator(".gg-answer")).to_have_text("(not answered)")


def test_the_transcript_follows_the_slider_the_buttons_and_the_keys(site: Site, new_page: Any) -> None:
    run_with_groups(site.outputs, "played", {step: _played(step) for step in range(1, STEPS + 1)})
    page = new_page(site, lang="en", tab="groups", run="played", step="2", group="0")
    _expect_transcript(page, 2)
    slider = page.locator(".gg-range")
    slider.fill("4")  # the fifth
    _expect_transcript(page, 5)
    slider.press("ArrowLeft")
    _expect_transcript(page, 4)
    page.locator('[data-move="first"]').click()
    _expect_transcript(page, 1)
    page.locator('[data-move="next"]').click()
    _expect_transcript(page, 2)
    page.locator(".gg-row").nth(0).focus()
    for step in (3, 4):
        page.keyboard.press("ArrowRight")
        _expect_transcript(page, step)
    page.keyboard.press("ArrowLeft")
    _expect_transcript(page, 3)
    for _ in range(3):  # faster than it can be drawn
        page.keyboard.press("ArrowRight")
    _expect_transcript(page, STEPS)


def test_plans_are_a_tree_also_on_a_phone_and_in_korean(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    hostile = carried(2, HOSTILE, f" rest {HOSTILE}", 0.25, reward=0.25, advantage=0.0)
    steps = {step: [line(f"asked {step}", [*two_plans(), hostile])] for step in range(1, STEPS + 1)}
    steps[2][0]["completions"][0]["text"] = "count back. it is ten"
    run_with_groups(site.outputs, "planned", steps)
    page = new_page(site, size=NARROW, lang="ko", tab="groups", run="planned", step="1")
    plans = page.locator(".gg-plan")
    expect(plans).to_have_count(3)
    expect(plans.nth(1)).to_contain_text("\uac00\uc7a5 \uc88b\uc740 \uacc4\ud68d")
    expect(plans.nth(0)).not_to_contain_text("\uac00\uc7a5 \uc88b\uc740 \uacc4\ud68d")
    names = [plan.get_attribute("aria-label") for plan in plans.all()]
    assert names == ["\uacc4\ud68d 1", "\uacc4\ud68d 2", "\uacc4\ud68d 3"]
    expect(plans.nth(1).locator(":scope > header .gg-chip")).to_contain_text("+0.71")
    cards = plans.nth(1).locator(".gg-card")
    expect(cards).to_have_count(2)
    expect(cards.nth(0)).to_contain_text("it is nine")
    expect(cards.nth(0).locator(".gg-chip")).to_contain_text("+0.50")
    expect(cards.nth(1).locator(".gg-chip")).to_contain_text("\u22120.50")
    plan, below = plans.nth(1).bounding_box(), cards.nth(0).bounding_box()
    assert below["x"] > plan["x"] and below["x"] + below["width"] <= NARROW[0]
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.locator(".gg-plan img, .gg-plan script").count() == 0
    plans.nth(0).locator(":scope > .gg-text").focus()  # the text of a plan is scrolled by keys
    page.keyboard.press("ArrowRight")
    expect(cards.nth(0)).to_contain_text("it is ten")
    expect(plans).to_have_count(3)
