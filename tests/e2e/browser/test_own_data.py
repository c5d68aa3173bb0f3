"""Somebody's own sheet in a real browser: from the drop to a run that is trained on it, without a terminal."""

from __future__ import annotations

import base64
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.builders import smollm2
from tests.e2e.browser.conftest import Site, set_field, setting, start_button, state_of, wait_for
from trainer import launch
from trainer.run.rundir import list_runs
from trainer.run.state import state_of as run_state

ROWS = "".join(f"{number}\ubc88 \ub0b1\ub9d0\uc744 \uac70\uafb8\ub85c?,\ub9d0\ub0b1{number}\n" for number in range(60))
SHEET = f"\uc9c8\ubb38,\uc815\ub2f5\n{ROWS}".encode("cp949")  # columns 'question' and 'answer', as a Korean Excel saves
DROP = """(zone, [name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const held = new DataTransfer();
    held.items.add(new File([bytes], name));
    zone.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
}"""
CAPITALS = """
France Paris, Italy Rome, Germany Berlin, Spain Madrid, Japan Tokyo, China Beijing, Egypt Cairo,
Greece Athens, Austria Vienna, Russia Moscow, Poland Warsaw, Portugal Lisbon, Ireland Dublin, Norway
Oslo, Sweden Stockholm, Cuba Havana, Peru Lima, Kenya Nairobi, Iran Tehran, Thailand Bangkok,
Denmark Copenhagen, Finland Helsinki, Hungary Budapest, England London
"""
IN_GERMAN = """
Frankreich Paris, Italien Rom, Deutschland Berlin, Spanien Madrid, Japan Tokio, China Peking,
\u00c4gypten Kairo, Griechenland Athen, \u00d6sterreich Wien, Russland Moskau, Polen Warschau,
Portugal Lissabon, Irland Dublin, Norwegen Oslo, Schweden Stockholm, Kuba Havanna, Peru Lima, Kenia
Nairobi, Iran Teheran, Thailand Bangkok, D\u00e4nemark Kopenhagen, Finnland Helsinki, Ungarn
Budapest, England London
"""
# A run of a minute on the CPU: what is learnt does not matter here.
QUICK = {"optim.max_steps": "2", "model.warm_start.steps": "10", "checkpoint.save_steps": "2", "eval.max_rows": "4"}


def drop(page: Any, name: str, data: bytes) -> None:
    page.locator("[data-drop]").evaluate(DROP, [name, base64.b64encode(data).decode()])


def pairs(listed: str) -> list[list[str]]:
    return [each.split() for each in listed.split(",")]


ENGLISH = "".join(f"What is the capital of {country}?,{city}\n" for country, city in pairs(CAPITALS))
GERMAN = "".join(f"Was ist die Hauptstadt von {country}?;{city}\n" for country, city in pairs(IN_GERMAN))
ENGLISH_SHEET, GERMAN_SHEET = f"Question,Reply\n{ENGLISH}".encode(), f"Frage;Antwort\n{GERMAN}".encode("cp1252")
# The second run of a real model is as long as the first: only where it is asked for.
ASKED = pytest.mark.network
SHEETS = [
    pytest.param("en", "capitals.csv", ENGLISH_SHEET, ("Question", "Reply"), "smollm2-135m", id="en"),
    pytest.param(
        "en", "Hauptst\u00e4dte.csv", GERMAN_SHEET, ("Frage", "Antwort"), "smollm2-135m", marks=ASKED, id="de"
    ),
    pytest.param("ko", "\ub0b1\ub9d0.csv", SHEET, ("\uc9c8\ubb38", "\uc815\ub2f5"), "tiny-korean", id="ko"),
]
# Less than what is proposed, which takes longer.
SHORTER = {
    "smollm2-135m": {
        "optim.max_steps": "10",
        "optim.per_device_train_batch_size": "16",
        "optim.learning_rate": "5e-4",  # the sooner something is seen
    },
    "tiny-korean": {"optim.max_steps": "60"},
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("language", "name", "sheet", "columns", "model"), SHEETS)
def test_from_the_drop_to_a_finished_run_whose_reward_rises(
    language: str, name: str, sheet: bytes, columns: tuple[str, str], model: str, own_site: Site, new_page: Any
) -> None:
    """Nothing but the browser: the file is dropped, some numbers typed, Start pressed."""
    if model == "smollm2-135m":
        smollm2()
    from playwright.sync_api import expect

    page = new_page(own_site, lang=language, tab="train")
    expect(start_button(page)).to_be_enabled()
    drop(page, name, sheet)
    expect(page.locator(".t-own")).to_contain_text(model)
    for ours, theirs in zip(("prompt", "answer"), columns, strict=True):
        expect(page.locator(f'[data-column="{ours}"]')).to_have_value(theirs)
    for key, value in SHORTER[model].items():
        set_field(page, key, value)
    for key, value in SHORTER[model].items():
        expect(page.locator('[data-slot="command"]')).to_contain_text(f"--set {key}={value}")
    expect(start_button(page)).to_be_enabled()
    start_button(page).click()
    expect(state_of(page)).to_be_visible(timeout=120_000)  # the weights may have to be fetched
    [run] = list_runs(own_site.outputs)
    wait_for(lambda: launch.status_of(run) in ("finished", "failed"), 900)
    assert launch.status_of(run) == "finished", run.log_file(1).read_text("utf-8")[-2000:]
    rewards = [reward for reward in run_state(run).metrics["train/reward"] if reward is not None]
    assert len(rewards) == int(SHORTER[model]["optim.max_steps"])
    end = max(3, len(rewards) // 10)
    assert statistics.fmean(rewards[-end:]) > statistics.fmean(rewards[:end]) + 0.1, rewards
    expect(page.locator(".g-finish")).to_be_visible(timeout=30_000)


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


def test_a_hub_dataset_is_set_up_by_one_click_and_not_asked_for_before(
    site: Site, new_page: Any, tmp_path: Path
) -> None:
    """`load_dataset` takes a folder as it does a dataset of the Hub: nothing leaves this machine."""
    from playwright.sync_api import expect

    (tmp_path / "capitals").mkdir()
    (tmp_path / "capitals" / "train.csv").write_bytes(ENGLISH_SHEET)
    page = new_page(site, tab="train", lang="en")
    take, command, own = page.locator("[data-own-hub]"), page.locator('[data-slot="command"]'), page.locator(".t-own")
    expect(start_button(page)).to_be_enabled()
    expect(take).to_be_hidden()
    setting(page, "data.name").fill(str(tmp_path / "capitals"))
    take.click()
    expect(own).to_contain_text("10 % of the rows are held out", timeout=60_000)
    expect(page.locator('[data-column="prompt"]')).to_have_value("Question")
    expect(command).to_contain_text("--preset smollm2")
    expect(take).to_be_hidden()
    expect(start_button(page)).to_be_enabled()
    page.locator("[data-own-back]").click()
    expect(command).to_have_text("python app.py --headless --preset tiny")
    expect(setting(page, "data.name")).to_have_value("")
