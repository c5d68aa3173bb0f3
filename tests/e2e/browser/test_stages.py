"""Stages and comparisons in a real browser: the line of stages, a next one that is missing, methods compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.builders import finished
from tests.e2e.browser.conftest import NARROW, Site, live_button, open_tab, start_button, wait_for
from trainer import launch, presets
from trainer.errors import Problem, RunError
from trainer.launch import chain
from trainer.run.outputs import COMPARISONS
from trainer.run.rundir import RunDir
from trainer.spec import Chain


def write(outputs: Path, name: str, spec: Any, steps: int) -> RunDir:
    """A run of that spec that has finished."""
    run = RunDir.create(outputs, name, spec, launch.plan_here(spec, 1024), {})
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | event) for n, event in enumerate(finished(steps))]
    run.events.write_text("".join(f"{line}\n" for line in lines))
    run.log_file(1).write_text("")
    return run


@pytest.fixture
def stages(site: Site) -> tuple[RunDir, RunDir]:
    spec = presets.load("tiny-stages")
    after = presets.stages.later(spec)[0].model_copy(update={"chain": Chain(name="grpo", number=2, count=2)})
    return write(site.outputs, "demo.1-sft", spec, 40), write(site.outputs, "demo.2-grpo", after, 30)


def test_a_click_on_a_stage_opens_its_run(site: Site, stages: tuple[RunDir, RunDir], new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, tab="live", run="demo.2-grpo")
    line = page.get_by_role("navigation", name="Stages of demo")
    expect(line.get_by_role("listitem")).to_have_count(2)
    expect(line.locator("[aria-current]")).to_contain_text("2 grpo")
    expect(line).to_contain_text("25 % \u2192 75 %")
    line.get_by_role("button", name="1 sft").click()
    expect(page.locator(".prose.g-state")).to_contain_text("demo.1-sft")
    expect(line.locator("[aria-current]")).to_contain_text("1 sft")
    expect(page).to_have_url(re.compile(r"run=demo\.1-sft"))

    open_tab(page, "Train")
    expect(start_button(page)).to_be_enabled()
    page.locator('[name="t-preset"][value="tiny-stages"]').evaluate("radio => radio.click()")
    expect(page.get_by_role("navigation", name="Stages of this preset")).to_contain_text("150 steps")


def test_a_stage_that_could_not_be_started_says_why_and_has_a_button(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    run = write(site.outputs, "stuck.1-sft", presets.load("tiny-stages"), 20)
    chain.note_refusal(run, RunError(Problem("launch.file_gone", "data.path", path="<b>x", name="stuck", key="k")))
    page = new_page(site, size=NARROW, tab="live", lang="ko", run="stuck.1-sft")
    place = page.locator(".prose.g-stages-place")
    expect(place).to_contain_text("<b>x")
    expect(live_button(page, "resume")).to_have_text("\ub2e4\uc74c \ub2e8\uacc4 \uc2dc\uc791")
    expect(live_button(page, "resume")).to_be_enabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    run.checkpoints.rmdir()  # it cannot be started now either
    live_button(page, "resume").click()
    expect(page.locator(".prose.g-told")).to_contain_text("stuck.1-sft")


def test_a_comparison_is_asked_for_and_refused_with_what_to_type(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, tab="runs")
    page.get_by_role("button", name="Compare methods ...").click()
    panel = page.locator(".g-panel")
    expect(panel.get_by_role("checkbox", name="DPO")).to_be_checked()
    for name in ("DPO", "RFT", "online RFT"):
        panel.get_by_role("checkbox", name=name, exact=True).uncheck()
    panel.locator('[data-field="budget"]').fill("7")
    panel.get_by_role("button", name="Start the comparison").click()
    expect(panel).to_contain_text("--budget 256 or more")
    expect(panel.locator('[data-field="budget"]')).to_have_value("7")
    expect(panel.get_by_role("checkbox", name="DPO")).not_to_be_checked()
    assert not (site.outputs / COMPARISONS).exists()


@pytest.mark.slow
def test_a_comparison_is_started_stopped_and_goes_on_to_its_table(own_site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(own_site, tab="runs")
    page.get_by_role("button", name="Compare methods ...").click()
    for name in ("DPO", "RFT", "online RFT", "SFT"):
        page.get_by_role("checkbox", name=name, exact=True).uncheck()
    page.locator('[data-field="budget"]').fill("10240")
    page.locator('[data-field="seeds"]').fill("1")
    page.get_by_role("button", name="Start the comparison").click()
    box = page.locator(".g-compared")
    expect(box).to_contain_text(re.compile(r"Now compare-tiny-grpo-1, step [1-9]"), timeout=120_000)
    box.get_by_role("button", name="Stop").click()
    expect(box.get_by_role("button", name="Go on")).to_be_visible(timeout=120_000)
    assert launch.status_of(own_site.run("compare-tiny-grpo-1")) == "stopped"

    page.reload()
    box.get_by_role("button", name="Go on").click()
    expect(box).to_contain_text("finished: 1 of 1", timeout=180_000)
    box.get_by_role("button", name="Table and curves").click()
    expect(page.locator(".g-panel")).to_contain_text("grpo answers most held-out rows right")
    note = own_site.outputs / COMPARISONS / "compare-tiny.json"
    assert note.is_file()
    wait_for((own_site.run("compare-tiny-grpo-1").report / "methods.ko.html").is_file)
    expect(box).to_have_count(1)
    box.get_by_role("button", name="Take it away here").click()
    expect(box).to_have_count(0)
    assert not note.exists()
