"""Who holds a lock, as it says so itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trainer.launch.locks import Holder, running_problem
from trainer.machine.process import Lock
from trainer.run.rundir import RunDir
from trainer.text import words


@pytest.mark.parametrize(
    ("note", "holder"),
    [
        ('{"use": "run", "run": "tiny-1", "pid": 7}', Holder("run", "tiny-1", 7)),
        ('{"use": "chat with", "run": "a.b_c", "pid": 7, "of_a_later_version": 1}', Holder("chat with", "a.b_c", 7)),
        ("run tiny-1, pid 7", Holder("run", "tiny-1", 7)),  # as earlier versions wrote it
        ("chat with tiny-1, pid 7", Holder("chat with", "tiny-1", 7)),
        ("pid 7", None),
        ("start", None),
        ("", None),
        ("{", None),
        ("[]", None),
        ('{"use": "run"}', None),
    ],
)
def test_the_holder_is_read_from_the_note(tmp_path: Path, note: str, holder: Holder | None) -> None:
    (tmp_path / "lock").write_text(note)
    assert Holder.of(Lock(tmp_path / "lock")) == holder


def test_what_is_noted_is_read_back(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock") as lock:
        assert lock.take(Holder.mine("run", "tiny-1").stored())
        found = Holder.of(Lock(tmp_path / "lock"))
    assert found == Holder("run", "tiny-1", os.getpid())
    assert json.loads(Holder.mine("run", "x").stored())["run"] == "x"


def test_who_has_the_worker_is_said_in_the_readers_language(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock") as lock:
        assert lock.take(Holder.mine("run", "tiny-1").stored())
        problem = running_problem(RunDir(tmp_path / "tiny-1"), "running", Lock(tmp_path / "lock"))
    assert problem.said(words("ko")).what.endswith(f"(pid {os.getpid()})")
