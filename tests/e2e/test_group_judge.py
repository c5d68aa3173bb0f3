"""A run whose completions a judge ranks, as a person starts it: the judge is a server on this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import finish, start
from tests.judge_server import ranks, serving, shown
from tests.records import log_lines
from trainer.presets import PRESETS_DIR
from trainer.run.groups import read_groups
from trainer.run.rundir import RunDir

SHORT = (
    "optim.max_steps=4", "optim.per_device_train_batch_size=32", "eval.max_rows=8", "eval.eval_steps=4",
    "model.warm_start.steps=60", "model.warm_start.batch_size=16", "run.memory_probe=false",
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


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_rollouts_have_the_share_that_each_completion_beats(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "rubric.txt").write_text("{prompt}, which is {answer}. Which comes closest?\n\n{completions}")
    preset = tmp_path / "judged.toml"
    sets = [flag for value in SHORT for flag in ("--set", value)]
    with serving() as judge:
        judge.reply = ranks(len)
        text = (PRESETS_DIR / "tiny.toml").read_text(encoding="utf-8").replace('"data/', f'"{PRESETS_DIR}/data/')
        preset.write_text(text + COMPONENT.format(url=judge.url), encoding="utf-8")
        code, _, printed = finish(start(outputs, "--headless", "--preset", str(preset), "--name", "judged", *sets))
        questions = judge.questions
    assert code == 0, printed
    run = RunDir(outputs / "judged")
    seen = 0
    for step in range(1, 5):
        for group in read_groups(run.rollouts_file(step)).groups:
            texts = [one.text for one in group.completions]
            for one in group.completions:
                others = [len(one.text) - len(text) for text in texts]
                share = (sum(each > 0 for each in others) + (sum(each == 0 for each in others) - 1) / 2) / 7
                assert one.components["judge"] == pytest.approx(share)
                assert not one.failed
                seen += 1
    assert seen == 4 * 32
    assert all(re.search(r"Reverse: \w+, which is \w+\. Which", question) for question in questions)
    assert all(2 <= len(shown(question)) <= 8 for question in questions)
    steps = log_lines(run.events, "step")
    assert sum(event["metrics"]["train/rewards/judge/calls"] for event in steps) == len(questions)
    assert all(event["metrics"]["train/rewards/judge/mean"] == pytest.approx(0.5) for event in steps)
    # One answer a held-out row: nothing to compare it with, so the others alone are its reward.
    evals = log_lines(run.events, "eval")
    assert evals and all("judge" not in event["components"] and event["reward"] is not None for event in evals)
