"""What TensorBoard and Trackio have of a run, read through their own libraries: {step: {name: value}}."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainer.mirrors.trackio_store import PROJECT
from trainer.run import mirror_files
from trainer.run.mirror_files import TENSORBOARD, TRACKIO
from trainer.run.rundir import RunDir

# Trackio knows its folder from the environment it was imported in.
_TRACKIO = """
import json, sys, trackio
(run,) = trackio.Api().runs(sys.argv[1])
rows = {}
from trackio.sqlite_storage import SQLiteStorage
for row in SQLiteStorage.get_logs(sys.argv[1], run.name):
    assert rows.setdefault(row["step"], row) is row, "a step is there twice"
print(json.dumps({"rows": list(rows.values()), "config": run.config}))
"""


def tensorboard(run: RunDir) -> Any:
    """Its own reader, over all files of the run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(mirror_files.folder(run, TENSORBOARD)), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def from_tensorboard(run: RunDir) -> dict[int, dict[str, Any]]:
    found, rows = tensorboard(run), dict[int, dict[str, Any]]()
    for tag in found.Tags()["scalars"]:
        for event in found.Scalars(tag):
            row = rows.setdefault(event.step, {})
            assert tag not in row, f"{tag} of step {event.step} is there twice"
            row[tag] = event.value
    return rows


def trackio(run: RunDir) -> dict[str, Any]:
    """rows, config."""
    environment = os.environ | {"TRACKIO_DIR": str(mirror_files.folder(run, TRACKIO)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _TRACKIO, PROJECT]
    cwd = Path(mirror_files.folder(run, TRACKIO))
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def from_trackio(run: RunDir) -> dict[int, dict[str, Any]]:
    return {row["step"]: row for row in trackio(run)["rows"]}
