"""Ready is only said when all that can be known before a model is loaded was looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.machine import gpu
from trainer.text import words
from trainer.ui.train.tab import TrainTab

GOOD = """def reward(completions, answer, **kwargs):
    return [float(gold in completion[-1]["content"]) for completion, gold in zip(completions, answer)]
"""


def form(*changes: str, preset: str = "tiny") -> str:
    return json.dumps({"base": {"preset": preset}, "changes": list(changes), "have": "en"})


def checked(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TrainTab.checked("en", text))
    return found


def settled(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TrainTab.settle("en", text))
    return found


def own(path: Path) -> str:
    return form(f'reward.components=[{{file = "{path}", function = "reward", name = "mine"}}]', "reward.correct=")


def test_what_is_sound_is_being_checked_first_and_ready_then() -> None:
    first, then = checked(form()), settled(form())
    assert first["right"] and not first["settled"]
    assert words("en")("train.checking") in first["verdict"]
    assert then["right"] and then["settled"]
    assert "Ready." in then["verdict"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def reward(completions, **kwargs)\n", "mine.py"),
        (GOOD.replace("reward(", "other("), "other"),
        (GOOD.replace("answer, **", "solution, **"), "solution"),
        ("def reward(completions, **kwargs):\n    raise RuntimeError('on purpose')\n", "on purpose"),
        ("def reward(completions, **kwargs):\n    return [1.0]\n", "mine"),
    ],
    ids=["no Python", "no such function", "no such column", "raises", "too few values"],
)
def test_a_reward_file_that_cannot_work_is_never_ready(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    found = settled(own(path))
    assert not found["right"]
    assert "Ready." not in found["verdict"]
    assert said in found["verdict"]
    path.write_text(GOOD)
    assert settled(own(path))["right"]


def test_a_model_folder_without_a_model_is_never_ready(tmp_path: Path) -> None:
    found = settled(form(f"model.name={tmp_path}", "model.warm_start="))
    assert not found["right"]
    assert "<b>model.name</b>" in found["verdict"]


def test_what_needs_a_gpu_offers_first_what_this_machine_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "chosen", lambda: None)
    found = checked(form(preset="gemma27b"))
    assert not found["right"]
    assert 'data-instead="tiny"' in found["verdict"].partition("<ul>")[0]
    assert "data-instead" not in checked(form("optim.learning_rate=-1"))["verdict"]


def test_a_fault_in_the_look_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("trainer.preflight.check", broken)
    found = settled(form())
    assert found["kind"] == "broken"
    assert "of ours" in found["verdict"]
