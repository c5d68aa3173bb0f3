"""A ready-made task on Train: one choice, and what comes with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import until
from trainer import presets
from trainer.tasks import catalogue, making
from trainer.text import words
from trainer.ui.train import actions, controls, data, fields, own, tab, views
from trainer.ui.train.form import Form

SUMS = ("data.task=reasoning_gym:chain_sum", "data.task_size=30")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


def test_every_task_can_be_chosen_beside_the_file() -> None:
    html = controls.parts(words("ko"))["data"]
    assert '<select id="t-data.task"' in html and words("ko")("field.data.task") in html
    assert all(f'<option value="{name}">' in html for name in catalogue.tasks())
    assert not any(f'<option value="{name}">' in html for name in catalogue.excluded())


def test_a_chosen_task_brings_its_rows_reward_and_lengths_and_is_right() -> None:
    found = actions.check(Form("preset", "smollm2", changes=SUMS))
    assert found.problems == [] and found.spec is not None and found.data is not None
    assert (found.data.rows, found.data.held_out) == (27, 3)
    shown = fields.values(found.raw)
    assert shown["data.path"] == shown["data.eval_path"] == "" and shown["data.eval_fraction"] == "0.1"
    assert shown["reward.components.0.function"] == "task"
    assert found.command.endswith("--set data.task=reasoning_gym:chain_sum --set data.task_size=30")
    assert "cache" not in found.toml


SLOW = ("data.task=reasoning_gym:knight_swap", "data.task_size=3000", "data.task_params.max_nodes=7")


def test_rows_that_are_being_made_are_no_problem_and_can_be_stopped() -> None:
    with making.waiting(0):
        found = actions.check(Form("preset", "smollm2", changes=(*SLOW, "optim.max_steps=9")))
        told = views.answer(found, words("en"))
    assert (told["right"], told["errors"]) == (False, [])
    assert told["ways"] == [[{"changes": [], "undo": ["data.task", "data.task_size", "data.task_params.max_nodes"]}]]
    shown = told["making"]
    assert shown["text"] == "making the rows of reasoning_gym:knight_swap: 0 of 3,000"
    assert (shown["done"], shown["size"]) == (0, 3000) and 'data-fix="0.0"' in shown["html"]
    assert "t-making" not in told["verdict"] and words("en")("train.wait_rows") in told["verdict"]


def test_what_else_is_wrong_is_said_meanwhile() -> None:
    with making.waiting(0):
        told = views.answer(
            actions.check(Form("preset", "smollm2", changes=(*SLOW, "optim.max_steps=-1"))), words("en")
        )
    assert [one["where"] for one in told["errors"]] == ["optim.max_steps"] and told["making"] is not None


def test_another_choice_ends_the_rows_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tab, "PATIENCE_S", 0.1)

    def asked(changes: tuple[str, ...], **more: str) -> dict[str, Any]:
        form = {"base": {"preset": "smollm2"}, "changes": changes, **more}
        answer: dict[str, Any] = json.loads(tab.TrainTab.checked("en", json.dumps(form)))
        return answer

    file = asked(SLOW)["making"]["file"]
    assert asked(SLOW, making=file)["making"]["file"] == file and making._underway
    assert asked((), making=file)["making"] is None
    until(lambda: not making._underway)


def test_the_rows_are_shown_with_where_they_are_from() -> None:
    html = data.shown(Form("preset", "smollm2", changes=SUMS), None, words("en"))
    assert "reasoning-gym 0.1.25 (Apache-2.0)" in html and "arithmetic problem" in html and "difficulty" in html


def test_a_model_that_has_read_nothing_is_warned_of() -> None:
    found = actions.check(Form("preset", "tiny", changes=(SUMS[0], "data.task_size=100")))
    assert found.plan is not None
    assert any(said.key == "presets.advice.task_of_random_weights" for said in found.plan.warnings)
    verdict = views.readiness(found, [], words("en"))
    assert 'data-instead="smollm2" data-keep="data.task"' in verdict and "Take smollm2-135m for this task" in verdict
    fit = actions.check(Form("preset", "smollm2", changes=SUMS))
    assert "data-instead" not in views.readiness(fit, [], words("en"))


def test_rows_of_ones_own_take_the_place_of_a_task(tmp_path: Path) -> None:
    rows = tmp_path / "sums.csv"
    rows.write_text("question,answer\n" + "".join(f"{n} + 1?,{n + 1}\n" for n in range(40)), encoding="utf-8")
    form = Form("preset", "smollm2", changes=SUMS)
    changes = own.chosen(form, str(rows)).changes
    found = actions.check(Form("preset", "smollm2", changes=changes))
    assert found.problems == [] and found.spec is not None and found.spec.data.task is None


def test_the_settings_as_a_file_make_the_rows_again(tmp_path: Path) -> None:
    found = actions.check(Form("preset", "smollm2", changes=SUMS))
    assert found.spec is not None
    (tmp_path / "mine.toml").write_text(found.toml, encoding="utf-8")
    assert presets.load(tmp_path / "mine.toml") == found.spec
