"""Somebody's own sheet in a real browser: from the drop to a run that is trained on it, without a terminal."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.e2e.browser.conftest import Site, set_field, setting, start_button, state_of, wait_for
from trainer import launch
from trainer.run.rundir import list_runs

ROWS = "".join(f"{number}\ubc88 \ub0b1\ub9d0\uc744 \uac70\uafb8\ub85c?,\ub9d0\ub0b1{number}\n" for number in range(60))
SHEET = f"\uc9c8\ubb38,\uc815\ub2f5\n{ROWS}".encode("cp949")  # columns 'question' and 'answer', as a Korean Excel saves
DROP = """(zone, [name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const held = new DataTransfer();
    held.items.add(new File([bytes], name));
    zone.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
}"""
# A run of a minute on the CPU: what is learnt does not matter here.
QUICK = {"optim.max_steps": "2", "model.warm_start.steps": "10", "checkpoint.save_steps": "2", "eval.max_rows": "4"}


def drop(page: Any, name: str, data: bytes) -> None:
    page.locator("[data-drop]").evaluate(DROP, [name, base64.b64encode(data).decode()])


@pytest.mark.slow
def test_a_korean_sheet_from_the_drop_to_a_run(own_site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(own_site, lang="ko", tab="train")
    expect(start_button(page)).to_be_enabled()
    drop(page, "\ub0b1\ub9d0.csv", SHEET)
    own = page.locator(".t-own")
    expect(own).to_contain_text("CP949")
    expect(page.locator('[data-column="prompt"]')).to_have_value("\uc9c8\ubb38")
    expect(page.locator('[data-column="answer"]')).to_have_value("\uc815\ub2f5")
    expect(setting(page, "data.eval_path")).to_have_value("")
    expect(setting(page, "data.eval_fraction")).to_have_value("0.1")
    expect(page.locator('[data-slot="looked"]')).to_contain_text("1\ubc88 \ub0b1\ub9d0\uc744")
    gold = page.locator('[data-mean="gold"]')
    expect(gold).to_contain_text("1.2")  # tried by itself
    slider = page.locator('[data-slider="reward.components.1.weight"]')
    slider.evaluate("(it) => { it.value = 0.5; it.dispatchEvent(new Event('input', {bubbles: true})); }")
    expect(gold).to_have_text("1.5")
    expect(page.locator(".t-sum")).to_contain_text("0.5")

    page.locator("[data-own-back]").click()  # all of it is taken back, and put in once more
    expect(page.locator('[data-slot="command"]')).to_have_text("python app.py --headless --preset tiny")
    drop(page, "\ub0b1\ub9d0.csv", SHEET)
    expect(own).to_contain_text("CP949")
    for key, value in QUICK.items():
        set_field(page, key, value)
    command = page.locator('[data-slot="command"]')
    for key, value in QUICK.items():
        expect(command).to_contain_text(f"--set {key}={value}")
    expect(start_button(page)).to_be_enabled()
    start_button(page).click()
    expect(page.get_by_role("tab", selected=True)).to_have_text("\uc9c4\ud589")
    expect(state_of(page)).to_be_visible()
    [run] = list_runs(own_site.outputs)
    wait_for(lambda: launch.status_of(run) in ("finished", "failed"))
    assert launch.status_of(run) == "finished", run.log_file(1).read_text("utf-8")[-2000:]
    spec = run.read_spec()
    assert spec.data.path == str(run.path / "files" / "\ub0b1\ub9d0.csv")
    assert (run.path / "files" / "\ub0b1\ub9d0.csv").read_bytes() == SHEET
