"""A run of two stages as a person starts it, ended with SIGKILL in the second and between the two."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import finish, kill_at, resume, start, weights_hash
from tests.records import log_lines
from trainer import launch
from trainer.run.rundir import RunDir

pytestmark = [pytest.mark.usefixtures("warm"), pytest.mark.slow]
SHORT = (
    "optim.max_steps=12", "optim.per_device_train_batch_size=32", "data.max_rows=20", "checkpoint.save_steps=2",
    "eval.max_rows=16", "eval.eval_steps=6",
)  # fmt: skip


def begin(outputs: Path, name: str, preset: str = "tiny-stages") -> subprocess.Popen[str]:
    sets = [flag for value in SHORT for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", preset, "--name", name, *sets)


def last(outputs: Path, name: str) -> RunDir:
    return RunDir(outputs / f"{name}.2-grpo")


def test_two_stages_are_one_command_and_one_resume(outputs: Path) -> None:
    code, summary, printed = finish(begin(outputs, "whole"))
    assert code == 0, printed
    assert summary["run"] == "whole.2-grpo" and summary["status"] == "finished"
    assert '"run": "whole.1-sft"' in printed
    taken = last(outputs, "whole").read_spec().model.name
    assert Path(taken).parents[1].name == "whole.1-sft"

    kill_at(5, last(outputs, "cut"), begin(outputs, "cut"))
    summary = resume(outputs, "cut")
    assert summary["run"] == "cut.2-grpo" and summary["attempts"] == 2
    assert weights_hash(last(outputs, "cut")) == weights_hash(last(outputs, "whole"))


def test_a_second_stage_that_nobody_started_is_started_by_a_resume(outputs: Path) -> None:
    """As after a machine that went down when the first had just ended."""
    first = launch.create("tiny-stages", *launch.prepare("tiny-stages", [*SHORT]), "down")
    first.path.rename(outputs / first.name)
    first = RunDir(outputs / first.name)
    code, _, printed = finish(start(outputs, "--headless", "--resume", first.name))
    assert code == 0, printed
    assert log_lines(last(outputs, "down").events, "run_finished")
    through = start(outputs, "--headless", "--resume", "down")
    assert "finished" in through.communicate(timeout=60)[1] and through.returncode == 2


@pytest.mark.timeout(900)
def test_reward_models_are_trained_between_two_policies_and_reward_the_second(outputs: Path) -> None:
    """With a kill in the second reward model; the policy at the end is that of a chain that nobody interrupted."""
    code, summary, printed = finish(begin(outputs, "whole", "tiny-two-stages"))
    assert code == 0, printed
    assert summary["run"] == "whole.4-general" and summary["status"] == "finished"
    general = RunDir(outputs / "whole.4-general")
    names = [name for _, name in general.read_spec().reward.judges()]
    assert names == ["run:whole.2-helpful", "run:whole.3-harmless"]
    for number, stage in ((2, "helpful"), (3, "harmless"), (4, "general")):
        model = RunDir(outputs / f"whole.{number}-{stage}").read_spec().model.name
        assert Path(model).parents[1].name == "whole.1-reasoning"
    evals = log_lines(RunDir(outputs / "whole.2-helpful").events, "eval")
    assert [event["at"] for event in evals] == ["before", "during", "after"]
    assert all(event["pairs"] > 0 and 0 <= event["correct_frac"] <= 1 and event["reward"] is None for event in evals)
    assert {"helpful", "harmless", "length"} <= log_lines(general.events, "eval")[-1]["components"].keys()

    kill_at(5, RunDir(outputs / "cut.3-harmless"), begin(outputs, "cut", "tiny-two-stages"))
    assert resume(outputs, "cut")["run"] == "cut.4-general"
    for stage in ("2-helpful", "3-harmless", "4-general"):
        whole, mine = (RunDir(outputs / f"{name}.{stage}") for name in ("whole", "cut"))
        assert weights_hash(mine) == weights_hash(whole)
