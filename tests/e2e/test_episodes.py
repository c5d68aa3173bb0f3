"""A run of episodes as a person starts it: killed and resumed it plays the same episodes, and its page shows them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import finish, start, whole_and_cut
from tests.records import log_lines
from trainer.run.groups import read_groups
from trainer.run.rundir import RunDir

SHORT = (
    "optim.max_steps=12", "optim.per_device_train_batch_size=32", "checkpoint.save_steps=3", "eval.max_rows=16",
    "eval.eval_steps=6", "model.warm_start.steps=60", "model.warm_start.batch_size=16", "run.memory_probe=false",
)  # fmt: skip


def begin(outputs: Path, name: str, *more: str) -> subprocess.Popen[str]:
    sets = [flag for value in (*SHORT, *more) for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", "tiny-guess", "--name", name, *sets)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_killed_run_goes_on_with_the_same_episodes(outputs: Path) -> None:
    whole, _ = whole_and_cut(outputs, begin)
    assert [event["rows"] for event in log_lines(whole.events, "eval")] == [16] * 3
    found = read_groups(whole.rollouts_file(12)).groups
    assert any(len(one.turns) > 1 for group in found for one in group.completions)
    events = log_lines(whole.events, "step")
    assert all(event["metrics"]["train/episodes/lost_frac"] == 0.0 for event in events)


HANGS = '''
import time


class Hangs:
    """Some games never answer."""

    def reset(self, seed):
        self.seed, self.asked = seed, False

    def guess(self, number: int) -> str:
        """Guess.

        Args:
            number: Any.
        """
        self.asked = True
        while self.seed > 1000 and self.seed % 2:
            time.sleep(1)
        return "right"

    def get_reward(self):
        return float(self.asked)
'''


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_an_environment_that_hangs_now_and_then_costs_its_rows_and_not_the_run(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "hangs.py"
    file.write_text(HANGS, encoding="utf-8")
    changes = [f"episode.file={file}", "episode.environment=Hangs", "episode.deadline_s=1", "optim.max_steps=2"]
    changes += ["optim.per_device_train_batch_size=16", "eval.max_rows=4", "data.max_rows=40"]
    code, _, printed = finish(begin(outputs, "hangs", *changes))
    assert code == 0, printed
    run = RunDir(outputs / "hangs")
    shares = [event["metrics"]["train/episodes/lost_frac"] for event in log_lines(run.events, "step")]
    assert any(0 < share < 1 for share in shares)
    lost = [
        one
        for step in (1, 2)
        for group in read_groups(run.rollouts_file(step)).groups
        for one in group.completions
        if one.reward is None
    ]
    # Whoever hangs after another has less than the whole deadline (trainer/episodes/host.py).
    assert lost and all(re.search(r"guess took longer than (1|0\.5) s", one.failed["found"]) for one in lost)
    assert all(one.advantage == 0.0 for one in lost)
