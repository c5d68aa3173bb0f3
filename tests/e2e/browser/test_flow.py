"""What a person does with the page, from the first card to the report, while a real worker trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.browser.conftest import (
    Site,
    live_button,
    open_tab,
    set_field,
    setting,
    start,
    start_button,
    state_of,
    steps,
    tab_names,
    wait_for,
)
from tests.records import log_lines
from trainer import launch
from trainer.run.rundir import RunDir

STEPS = 80
SHORT = {"checkpoint.save_steps": 10, "eval.max_rows": 16, "log.heartbeat_s": 0.5}
RUN, OTHER = "mine", "other"
BATCH, RATE = "optim.per_device_train_batch_size", "optim.learning_rate"
PATIENCE_MS = 120_000  # for what a worker does: it loads a model, trains and checks what it learned
KOREAN = re.compile("[\uac00-\ud7a3]")


@pytest.mark.slow
@pytest.mark.timeout(900)  # two slow cores that draw without a GPU
def test_from_the_first_card_to_the_report(own_site: Site, new_page: Any) -> None:
    """One run through every tab: a break in the middle of it would only make it longer."""
    earlier = own_site.headless(OTHER, "optim.learning_rate=1e-3")
    assert earlier.wait(180) == 0, (own_site.folder / f"{OTHER}.log").read_text("utf-8")
    page = new_page(own_site, lang="en")
    choose_a_preset(page)
    break_a_field_and_mend_it(page)
    start(page, RUN, SHORT | {"optim.max_steps": STEPS})
    run = own_site.run(RUN)
    watch_the_reward(page)
    reload_during_the_run(page)
    open_a_second_page(own_site, new_page, page, run)
    stop_and_save(page, run)
    scrub_groups(page)
    resume_and_let_it_finish(page, run)
    compare_two_runs(page)
    read_the_report(page)
    switch_to_korean(page)
    ask_both_models(page)
    open_tab(page, tab_names(page)[0])


def error_of(page: Any, key: str) -> Any:
    """What is said beside a field."""
    return page.locator(f'[id="t-{key}-error"]')


def verdict(page: Any) -> Any:
    """What is said above Start."""
    return page.locator('[data-slot="verdict"]')


def choose_a_preset(page: Any) -> None:
    from playwright.sync_api import expect

    card = page.locator(".t-card > label").filter(has=page.locator('[value="tiny"]'))
    card.click()
    expect(card.locator("input")).to_be_checked()
    expect(start_button(page)).to_be_enabled()


def break_a_field_and_mend_it(page: Any) -> None:
    """A number out of its bounds, and a batch that no group fits: said beside a field and above Start, mended there."""
    from playwright.sync_api import expect

    for key, bad, told_at in ((RATE, "-1", RATE), (BATCH, "3", "generation.num_generations")):
        set_field(page, key, bad)
        expect(error_of(page, told_at)).to_be_visible()
        expect(verdict(page).locator(".g-wrong")).to_contain_text(told_at)
        expect(start_button(page)).to_be_disabled()
        # Not the one that goes back to the preset's value: the click after it does that.
        fix = error_of(page, told_at).get_by_role("button", name=re.compile(rf"^(Use |{re.escape(key)} = )")).first
        promised = fix.inner_text().rpartition(" ")[2]
        fix.click()
        expect(error_of(page, told_at)).to_be_hidden()
        expect(verdict(page).locator(".g-wrong")).to_have_count(0)
        expect(setting(page, key)).to_have_value(promised)
        page.locator(f'[data-undo="{key}"]').click()
        expect(setting(page, key)).not_to_have_value(promised)
        expect(start_button(page)).to_be_enabled()


def chart_moves(page: Any) -> None:
    """The line of the reward gets longer while one looks."""
    from playwright.sync_api import expect

    line = page.locator('.g-board .g-large svg[role="img"] path[class^="g-line"]').first
    line.wait_for(state="attached", timeout=PATIENCE_MS)
    expect(line).not_to_have_attribute("d", line.get_attribute("d") or "")


def watch_the_reward(page: Any) -> None:
    chart_moves(page)
    chart_moves(page)


def reload_during_the_run(page: Any) -> None:
    from playwright.sync_api import expect

    page.reload()
    page.wait_for_function("window.pageOpened === true")
    expect(page.get_by_role("tab", name="Live")).to_have_attribute("aria-selected", "true")
    expect(state_of(page)).to_contain_text(RUN)
    chart_moves(page)


def open_a_second_page(site: Site, new_page: Callable[..., Any], page: Any, run: RunDir) -> None:
    """Another browser, told nothing but the address of the page: the run that is going, and its step."""
    from playwright.sync_api import expect

    second = new_page(site, lang="en", tab="live")
    expect(state_of(second)).to_contain_text(RUN)
    done = len(steps(run))
    for each in (page, second):
        each.wait_for_function("least => Number(/step (\\d+)/.exec(document.body.innerText)?.[1]) >= least", arg=done)
    second.context.close()


def written(page: Any) -> list[str]:
    """The texts of the completions that are shown."""
    found: list[str] = page.locator(".gg-card").all_inner_texts()
    return found


def at_step(page: Any) -> int:
    """What the scrubber says: "Step 4 \u00b7 4 of 20"."""
    return int(page.locator(".gg-at").inner_text().split()[1])


def scrub_groups(page: Any) -> None:
    """To another step by its button, by an arrow key and back to the newest; other prompts are shown at each."""
    from playwright.sync_api import expect

    open_tab(page, "Groups")
    page.locator(".gg-card").first.wait_for()
    for move in (
        lambda: page.locator('[data-move="first"]').click(),
        lambda: page.locator('[data-move="next"]').click(),
        lambda: page.keyboard.press("ArrowRight"),
        lambda: page.keyboard.press("ArrowLeft"),
    ):
        step, texts = at_step(page), written(page)
        move()
        expect(page.locator(".gg-at")).not_to_have_text(re.compile(rf"^Step {step} "))
        page.wait_for_function(
            "before => { const now = [...document.querySelectorAll('.gg-card')].map((one) => one.innerText);"
            " return now.length > 0 && JSON.stringify(now) !== JSON.stringify(before); }",
            arg=texts,
        )
    assert at_step(page) == 2
    page.locator(".gg-row").nth(1).click()
    expect(page.locator(".gg-row").nth(1)).to_have_attribute("aria-current", "true")


def stop_and_save(page: Any, run: RunDir) -> None:
    from playwright.sync_api import expect

    live_button(page, "stop").click()
    expect(live_button(page, "resume")).to_be_enabled(timeout=PATIENCE_MS)
    expect(state_of(page).locator(".g-dot")).to_have_class(re.compile("g-stopped"))
    assert launch.status_of(run) == "stopped"
    assert 0 < len(steps(run)) < STEPS


def resume_and_let_it_finish(page: Any, run: RunDir) -> None:
    """Every step once, in two attempts."""
    from playwright.sync_api import expect

    open_tab(page, "Live")
    live_button(page, "resume").click()
    expect(live_button(page, "stop")).to_be_enabled()
    wait_for(lambda: launch.status_of(run) == "finished")
    expect(state_of(page).locator(".g-dot")).to_have_class(re.compile("g-finished"))
    expect(page.locator(".g-finish")).to_contain_text("\u2192")
    expect(page.locator(".g-then .g-answered").first).to_be_visible()
    expect(live_button(page, "further")).to_have_attribute("title", re.compile("asks first"))
    assert steps(run) == list(range(1, STEPS + 1))
    assert sum(event["kind"] == "run_started" for event in log_lines(run.events)) == 2


def compare_two_runs(page: Any) -> None:
    """Two boxes, Compare: curves of both and what they were told differently."""
    from playwright.sync_api import expect

    open_tab(page, "Runs")
    for name in (RUN, OTHER):
        box = page.locator(f'.g-tick[data-run="{name}"]')
        box.click()
        expect(box).to_have_attribute("aria-checked", "true")
    page.locator('button[data-do="compare"]').click()
    panel = page.locator(".g-panel")
    expect(panel.locator("svg").first).to_be_visible()
    expect(panel).to_contain_text("optim.learning_rate")
    expect(panel).to_contain_text("0.001")
    for name in (RUN, OTHER):
        expect(panel).to_contain_text(name)
    panel.locator('[data-do="close"]').click()
    expect(panel).to_have_count(0)


def read_the_report(page: Any) -> None:
    from playwright.sync_api import expect

    open_tab(page, "Live")
    live_button(page, "report").click()
    report = page.locator(".g-report iframe").content_frame.locator("body")
    for text in (RUN, "reward", "0.0003"):
        expect(report).to_contain_text(text)


def switch_to_korean(page: Any) -> None:
    """The words of the tabs and of what is open, with the same run and tab."""
    from playwright.sync_api import expect

    page.locator(".g-language").get_by_text("\ud55c\uad6d\uc5b4").click()
    expect(page.get_by_role("tab").first).to_have_text(KOREAN)
    expect(page.get_by_role("tab").nth(1)).to_have_attribute("aria-selected", "true")
    for place in (live_button(page, "report"), page.locator(".g-effects dd").first, page.locator(".g-board").first):
        expect(place).to_contain_text(KOREAN)
    expect(state_of(page)).to_contain_text(RUN)
    assert all(KOREAN.search(name) for name in tab_names(page))


def ask_both_models(page: Any) -> None:
    """The model as it was and as it became answer the same prompt, from a worker of their own."""
    from playwright.sync_api import expect

    open_tab(page, tab_names(page)[-1])
    page.locator(".g-try textarea").first.fill("Reverse: abcde")
    page.locator(".g-try button.primary").click()
    for place in range(2):
        answer = page.locator(".try-card").nth(place).locator(".try-answer")
        expect(answer).to_have_text(re.compile(r"\S"), timeout=PATIENCE_MS)


@pytest.mark.slow
def test_a_paused_run_goes_on(own_site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(own_site, lang="en")
    start(page, "rested", SHORT | {"optim.max_steps": 30})
    run = own_site.run("rested")
    wait_for(lambda: len(steps(run)) >= 2)
    live_button(page, "pause").click()
    expect(state_of(page).locator(".g-dot")).to_have_class(re.compile("g-paused"), timeout=PATIENCE_MS)
    assert launch.status_of(run) == "paused"
    assert len(steps(run)) < 30
    going_on = live_button(page, "resume")
    expect(going_on).to_have_text("Continue")
    going_on.click()
    expect(live_button(page, "pause")).to_be_enabled()
    wait_for(lambda: launch.status_of(run) == "finished")
    expect(state_of(page).locator(".g-dot")).to_have_class(re.compile("g-finished"))
    assert steps(run) == list(range(1, 31))
