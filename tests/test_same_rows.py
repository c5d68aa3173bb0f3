"""Training.check_same: a resumed run says that it is evaluated on other rows than before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.records import log_lines
from trainer.data.dataset import DataReport, Prepared
from trainer.run import checkpoints
from trainer.run.events import EventWriter
from trainer.run.rundir import RunDir


@pytest.mark.parametrize(("saved", "said"), [("a", 0), ("b", 1), (None, 0)])  # None: saved by a version without it
def test_other_held_out_rows_are_said(
    tmp_path: Path, make_run: Callable[..., RunDir], saved: str | None, said: int
) -> None:
    from trainer.worker.training import Training

    rundir = make_run()
    facts = {"data": "x", "model": "m", "reward_files": {}, "versions": {}}
    written = facts if saved is None else facts | {"held_out": saved}
    (tmp_path / checkpoints.MANIFEST).write_text(json.dumps(written), encoding="utf-8")
    events = EventWriter(rundir.events, 1)
    training: Any = object.__new__(Training)  # its other parts need a model
    training.manifest = facts | {"held_out": "a"}
    training.session = SimpleNamespace(events=events)
    training.data = Prepared([], [], DataReport(fingerprint="x", held_out_fingerprint="a"))
    training.check_same(checkpoints.Checkpoint(tmp_path, 1))
    found = [event for event in log_lines(rundir.events) if event["kind"] == "alert"]
    assert [(event["level"], event["title"]) for event in found] == [("warn", "held-out rows changed")] * said
