"""The report on the reference run says what its owner did not see; without the cause it does not say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report import reference_run
from trainer.console.commands import import_wandb
from trainer.report import markdown, material, sections
from trainer.report.finding import Finding
from trainer.report.rules import diagnose
from trainer.run.rundir import RunDir, outputs_dir


@pytest.fixture
def imported(tmp_path: Path) -> RunDir:
    return bring(tmp_path, "reference")


def bring(folder: Path, name: str, gpu: str = "H100", **mutations: bool) -> RunDir:
    path = folder / f"{name}.csv"
    reference_run.write_csv(path, **mutations)
    options: dict[str, Any] = {"name": name, "run": None, "overrides": [], "config_file": None, "gpu": gpu}
    assert import_wandb.import_wandb([path], preset="gemma27b", **options) == 0
    return RunDir.open(outputs_dir(), name)


def found(rundir: RunDir) -> dict[tuple[str, str], Finding]:
    return {(finding.signal, finding.key): finding for finding in diagnose(material.of(rundir))}


def test_it_finds_what_there_is_to_find(imported: RunDir) -> None:
    said = found(imported)
    assert said["reward_dips", "some"].steps == (5, 45, 78, 115)
    period = said["dip_period", "unknown_rows"]
    assert period.values["period"] == pytest.approx(110 / 3) and period.values["rows"] == 37
    slow, fast = said["slow_steps", "slow"], said["slow_steps", "fast"]
    assert (slow.steps, slow.values["most"], fast.steps) == ((80,), 2200.0, (25,))
    dead = said["dead_groups", "steps"]
    assert (dead.level, dead.values["dead"], dead.values["count"]) == ("red", 116, 120)
    assert said["zero_loss", "dead"].values["both"] == 116
    floor = said["generation_floor", "like_no_cache"]
    assert floor.level == "red" and floor.values["factor"] >= 100
    assert floor.values["floor"] == pytest.approx(4.7, abs=0.5)


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "en",
            [
                "The reward dips at steps 5, 45, 78, 115",
                "come back every 36.7 steps",
                "116 of 120 steps (97 %)",
                "nothing was learnt there",
                "183 times its floor of 4.6 s on this GPU (H100",
                "the KV cache is lost",
                "Slow steps: 80.",
                "Fast steps: 25.",
            ],
        ),
        (
            "ko",
            [
                "보상이 급락한 스텝: 5, 45, 78, 115",
                "36.7스텝마다 되풀이",
                "120스텝 중 116스텝(97 %)",
                "배운 것이 없습니다",
                "하한 4.6초의 183배",
                "KV 캐시가 없을 때와 비슷",
                "느린 스텝: 80.",
                "빠른 스텝: 25.",
            ],
        ),
    ],
)
def test_it_says_so_in_both_languages(imported: RunDir, language: str, sentences: list[str]) -> None:
    text = markdown.render(sections.build(material.of(imported), language))
    for sentence in sentences:
        assert sentence in text, sentence


def test_without_the_dips_there_is_no_word_of_them(tmp_path: Path) -> None:
    said = found(bring(tmp_path, "calm", dips=False))
    assert ("reward_dips", "none") in said and not [key for key in said if key[0] == "dip_period"]


def test_near_its_floor_generation_is_no_fault(tmp_path: Path) -> None:
    said = found(bring(tmp_path, "fast", at_floor=True))
    assert said["generation_floor", "near"].level == "green"
    assert not [key for key in said if key[0] == "slow_steps" and key[1] != "none"]


def test_with_spread_everywhere_no_step_is_called_dead(tmp_path: Path) -> None:
    said = found(bring(tmp_path, "lively", spread_everywhere=True))
    assert said["dead_groups", "steps_some"].values["dead"] == 0
    assert ("zero_loss", "dead") not in said


def test_on_an_unknown_card_no_floor_is_made_up(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    reference_run.write_csv(path)
    options: dict[str, Any] = {"name": "some", "run": None, "overrides": [], "config_file": None, "gpu": None}
    assert import_wandb.import_wandb([path], preset="gemma27b", **options) == 0
    assert ("generation_floor", "unknown_gpu") in found(RunDir.open(outputs_dir(), "some"))
