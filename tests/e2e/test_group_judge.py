"""Runs whose completions a judge ranks, as a person starts them: the judge is a server on this machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import finish, kill_at, resume, same_rollouts, start
from tests.judge_server import Endpoint, Reply, ranks, serving, shown
from tests.records import log_lines
from trainer.presets import PRESETS_DIR
from trainer.run.groups import Group, read_groups
from trainer.run.rundir import RunDir

pytestmark = [pytest.mark.usefixtures("warm"), pytest.mark.slow]
STEPS = 4
SHORT = (
    f"optim.max_steps={STEPS}", "optim.per_device_train_batch_size=32", "eval.max_rows=8", "eval.eval_steps=4",
    "model.warm_start.steps=60", "model.warm_start.batch_size=16", "run.memory_probe=false", "checkpoint.save_steps=1",
)  # fmt: skip
COMPONENT = """
[[reward.components]]
function = "llm_group_judge"
name = "judge"
weight = 0.5

[reward.components.params]
model = "m"
base_url = "{url}"
rubric = "rubric.txt"
orders = 2
"""


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """It likes long texts."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.reply = ranks(len)
        yield server


@pytest.fixture
def preset(judge: Endpoint, tmp_path: Path) -> Path:
    (tmp_path / "rubric.txt").write_text("{prompt}, which is {answer}. Which comes closest?\n\n{completions}")
    path = tmp_path / "judged.toml"
    text = (PRESETS_DIR / "tiny.toml").read_text(encoding="utf-8").replace('"data/', f'"{PRESETS_DIR}/data/')
    path.write_text(text + COMPONENT.format(url=judge.url), encoding="utf-8")
    return path


def begin(outputs: Path, preset: Path, name: str, *more: str) -> subprocess.Popen[str]:
    sets = [flag for value in (*SHORT, *more) for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", str(preset), "--name", name, *sets)


def groups_of(run: RunDir) -> list[Group]:
    return [group for step in range(1, STEPS + 1) for group in read_groups(run.rollouts_file(step)).groups]


def beaten(text: str, texts: list[str]) -> float:
    """The share of the others that this judge finds worse, equal ones half."""
    shorter, equal = sum(len(one) < len(text) for one in texts), sum(len(one) == len(text) for one in texts)
    return (shorter + (equal - 1) / 2) / (len(texts) - 1)


@pytest.mark.parametrize(
    "more",
    [[], ["sampling.group_size=threshold", "sampling.min_generations=4", "data.max_rows=4"]],
    ids=["of one size", "of several sizes"],
)
def test_the_rollouts_have_the_share_of_its_group_that_each_completion_beats(
    outputs: Path, preset: Path, judge: Endpoint, more: list[str]
) -> None:
    name = f"judged-{len(more)}"
    code, _, printed = finish(begin(outputs, preset, name, *more))
    assert code == 0, printed
    run = RunDir(outputs / name)
    groups = groups_of(run)
    for group in groups:
        texts = [one.text for one in group.completions]
        found = [one.components["judge"] for one in group.completions]
        assert found == pytest.approx([beaten(text, texts) for text in texts])
    sizes = [len(group.completions) for group in groups]
    assert sum(sizes) == STEPS * 32
    assert len(set(sizes)) > 1 if more else set(sizes) == {8}
    assert all(re.search(r"Reverse: \w+, which is \w+\. Which", question) for question in judge.questions)
    assert all(2 <= len(shown(question)) <= max(sizes) for question in judge.questions)
    steps = log_lines(run.events, "step")
    assert sum(event["metrics"]["train/rewards/judge/calls"] for event in steps) == len(judge.questions)
    assert all(event["metrics"]["train/rewards/judge/mean"] == pytest.approx(0.5) for event in steps)
    # One answer a held-out row: nothing to compare it with, so the others alone are its reward.
    evals = log_lines(run.events, "eval")
    assert evals and all("judge" not in event["components"] and event["reward"] is not None for event in evals)


def test_a_killed_run_asks_the_same_questions_and_goes_on_as_the_same_run(
    outputs: Path, preset: Path, judge: Endpoint
) -> None:
    code, _, printed = finish(begin(outputs, preset, "whole"))
    assert code == 0, printed
    asked, judge.asked = set(judge.questions), []
    cut = RunDir(outputs / "cut")
    at_once = judge.reply

    def slow(question: str) -> Reply:  # the run is not over before it is killed
        judge.closing.wait(0.3)
        return at_once(question)

    judge.reply = slow
    kill_at(2, cut, begin(outputs, preset, "cut"))
    judge.reply = at_once
    (preset.parent / "rubric.txt").write_text("Another question: {completions}")  # the run has kept its text
    assert resume(outputs, "cut")["attempts"] == 2
    assert set(judge.questions) == asked
    same_rollouts(cut, RunDir(outputs / "whole"), *range(1, STEPS + 1))
