"""A ready-made task chosen in a real browser: what comes with it, and that rows of one's own take its place."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.e2e.browser.conftest import Site, setting, start_button

SHEET = "question,answer\n" + "".join(f"What is {number} + 1?,{number + 1}\n" for number in range(60))
DROP = """(zone, text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const held = new DataTransfer();
    held.items.add(new File([bytes], "sums.csv"));
    zone.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
}"""


def test_a_task_is_one_choice_and_rows_of_ones_own_take_its_place(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, tab="train")
    expect(start_button(page)).to_be_enabled()
    task, command, looked = setting(page, "data.task"), page.locator('[data-slot="command"]'), page.locator(".t-own")
    task.select_option("reasoning_gym:chain_sum")
    expect(looked).to_contain_text("Made here by a generator", timeout=60_000)
    expect(command).to_have_text("python app.py --headless --preset tiny --set data.task=reasoning_gym:chain_sum")
    expect(setting(page, "data.eval_fraction")).to_have_value("0.1")
    expect(setting(page, "reward.components.0.function")).to_have_value("task")
    expect(page.locator('[data-undo="data.task"]')).to_be_visible()
    expect(page.locator('[data-undo="data.eval_fraction"]')).to_be_hidden()  # it goes with the task
    expect(start_button(page)).to_be_enabled()

    # The model that has read nothing is changed in one click, and the task stays.
    page.locator('[data-instead="smollm2"]').click()
    expect(command).to_have_text("python app.py --headless --preset smollm2 --set data.task=reasoning_gym:chain_sum")
    expect(page.locator("[data-instead]")).to_have_count(0)
    page.locator('[name="t-preset"][value="tiny"]').evaluate("radio => radio.click()")
    expect(command).to_have_text("python app.py --headless --preset tiny --set data.task=reasoning_gym:chain_sum")

    page.locator("[data-drop]").evaluate(DROP, base64.b64encode(SHEET.encode()).decode())
    expect(looked).to_contain_text("sums.csv", timeout=60_000)
    expect(task).to_have_value("")
    expect(command).not_to_contain_text("reasoning_gym")

    task.select_option("reasoning_gym:chain_sum")
    expect(looked).to_contain_text("Made here by a generator", timeout=60_000)
    expect(command).not_to_contain_text("sums.csv")

    name = page.locator("[data-name]")
    name.fill("../my sums")
    page.locator("[data-rename]").first.click()
    expect(name).to_have_value("my-sums-1")
    expect(start_button(page)).to_be_enabled()


@pytest.mark.slow
def test_rows_that_take_long_are_counted_and_can_be_stopped(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, lang="ko", tab="train")
    expect(start_button(page)).to_be_enabled()
    setting(page, "data.task").select_option("reasoning_gym:knight_swap")  # 0.1 s a row
    told, bar = page.locator(".t-making p"), page.locator(".t-making progress")
    expect(told).to_contain_text(re.compile("500\uac1c \uc911 [1-9]\\d*\uac1c"))
    before = bar.evaluate("(it) => it.value")
    button = page.locator(".t-making button").element_handle()
    page.wait_for_function("(before) => document.querySelector('.t-making progress')?.value > before", arg=before)
    assert button.evaluate("(it) => it.isConnected")  # it was not drawn anew under a finger
    expect(start_button(page)).to_be_disabled()
    button.click()
    expect(start_button(page)).to_be_enabled()
    expect(bar).to_have_count(0)
    expect(setting(page, "data.task")).to_have_value("")
