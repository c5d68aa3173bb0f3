"""Cards and the plan on machines of several sizes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trainer import presets
from trainer.machine import gpu
from trainer.machine.gpu import GPU
from trainer.plan.duration import Duration
from trainer.preflight import machine
from trainer.text import Message, languages, words
from trainer.ui.train import actions, cards, views
from trainer.ui.train.form import Form

EN = words("en")


def on_gpu(monkeypatch: pytest.MonkeyPatch, total_gib: float | None) -> None:
    card = None if total_gib is None else GPU(0, "GPU-1", "Test card", total_gib, 1.0, 0.0, (8, 9), "580")
    monkeypatch.setattr(gpu, "chosen", lambda: card)


def test_cards_say_what_fits_this_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    for total in (None, 8.0, 24.0, 80.0):
        on_gpu(monkeypatch, total)
        found = {card.info.name: card for card in cards.cards()}
        assert len(found) == len(presets.list_presets())
        assert found["tiny"].fit == "fits"
        seen[total] = found["qwen3-14b"].fit
        for code in languages():
            shown = cards.rendered(list(found.values()), words(code))
            assert shown.count('type="radio"') == len(found)
            assert ("all weights" in shown) == (code == "en")
    assert seen == {None: "unknown", 8.0: "no", 24.0: "fits", 80.0: "fits"}


def test_what_fits_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, 12.0)
    order = [card.fit for card in cards.cards()]
    assert order == sorted(order, key=("fits", "tight", "unknown", "no").index)


def test_a_broken_preset_says_what_is_broken(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.toml").write_text('# Bad\n[model]\nname = "<b>x</b>"\nnowhere = 1\n')
    monkeypatch.setattr(presets, "PRESETS_DIR", tmp_path)
    (card,) = cards.cards()
    shown = cards.rendered([card], EN)
    assert "This preset is broken" in shown and "nowhere" in shown and "<b>x" not in shown


def test_the_plan_says_how_long_it_takes_and_which_kind_of_number_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, None)
    now = time.mktime((2026, 11, 29, 23, 0, 0, 0, 0, -1))
    lasts = Duration(0.5, 100, 40.0, "run", Message("plan.duration.of_run", run="tiny-1"))
    shown = views.lasting(lasts, EN, now)
    assert "0.50 s a step, 2 min in all" in shown and ">23:01</time>" in shown
    assert "measured: run tiny-1 on this machine" in shown
    other = views.lasting(Duration(5.0, 100, 40.0, "card", Message("plan.duration.from_cpu"), gb=24), EN, now)
    assert "<time" not in other  # it will not start here
    assert "not known" in views.lasting(None, EN, now)
    assert "a step, " in views.answer(actions.check(Form("preset", "tiny")), EN)["plan"]


def test_the_plan_says_what_the_fast_path_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, None)
    assert "Fast path: each prompt is computed once instead of 8 times" in views.plan(checked("tiny"), EN)
    assert "Fast path: run.fast is off" in views.plan(checked("tiny", "run.fast=off"), EN)


def checked(preset: str, *changes: str) -> actions.Checked:
    return actions.check(Form("preset", preset, changes=changes))


@pytest.mark.parametrize("language", languages())
def test_a_run_that_does_not_fit_is_offered_what_makes_it_fit(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, 8.0)
    monkeypatch.setattr(machine, "missing", lambda *names: [])
    say = words(language)
    found = views.answer(actions.check(Form("preset", "qwen3-4b")), say)
    assert found["right"] and "t-fit t-no" in found["plan"] and 'data-fits="0"' in found["plan"]
    way = found["fits"][0]
    after = actions.check(Form("preset", "qwen3-4b", changes=tuple(way["changes"])))
    assert after.plan is not None and after.plan.memory_verdict in ("fits", "tight")


@pytest.mark.parametrize("name", [info.name for info in presets.list_presets()])
@pytest.mark.parametrize("language", languages())
def test_every_preset_can_be_shown(name: str, language: str) -> None:
    say = words(language)
    found = views.answer(actions.check(Form("preset", name)), say)
    assert found["plan"] and found["values"]["model.name"] and found["components"]
    assert not found["right"] or found["toml"]


@pytest.mark.parametrize(("code", "said"), [("en", "replaced by other prompts"), ("ko", "다른 프롬프트로 바꾸며")])
def test_the_plan_says_what_sampling_will_do(monkeypatch: pytest.MonkeyPatch, code: str, said: str) -> None:
    on_gpu(monkeypatch, None)
    form = Form("preset", "tiny", changes=("sampling.max_rounds=3", "sampling.group_size=spread"))
    shown, plain = (views.answer(actions.check(one), words(code))["plan"] for one in (form, Form("preset", "tiny")))
    assert said in shown and said not in plain
    assert words(code)("train.rollouts_mean", prompts=32, group=8, all=256) in shown
