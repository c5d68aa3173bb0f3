"""TensorBoard's files when the disk is full or a record is torn, and what looking at a long one costs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.mirrors.completions import Completions
from trainer.mirrors.tensorboard_files import EventFile

TABLE = Completions(["prompt", "completion"], [["p" * 4000, "c" * 4000]] * 16, 0, 0, 0)

# A process of its own: the limit is for all of its files.
_FULL = """
import resource, signal, sys
from pathlib import Path
from trainer.mirrors.completions import Completions
from trainer.mirrors.tensorboard_files import EventFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
table = Completions(["prompt", "completion"], [["p" * 4000, "c" * 4000]], 0, 0, 0)
file = EventFile(Path(sys.argv[1]), 1, {})
file.log(1, 1.0, {"train/reward": 1.0}, None)
whole = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, whole[1]))
try:
    file.log(2, 2.0, {"train/reward": 2.0}, table)
except OSError:
    file.log(2, 2.0, {"train/reward": 2.0}, None)
resource.setrlimit(resource.RLIMIT_FSIZE, whole)
file.log(3, 3.0, {"train/reward": 3.0}, table)
"""


def steps(folder: Path) -> list[int]:
    """As TensorBoard reads them."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return [event.step for event in found.Scalars("train/reward")] if found.Tags()["scalars"] else []


def written(folder: Path, count: int, table: Completions | None = None) -> EventFile:
    file = EventFile(folder, 1, {"a": 1})
    for step in range(count):
        file.log(step, float(step), {"train/reward": 1.0}, table)
    return file


def test_a_row_that_a_full_disk_cut_off_hides_none_after_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert steps(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("lost", [1, 5, 40, 60])
def test_the_newest_step_is_the_newest_that_tensorboard_shows(tmp_path: Path, lost: int) -> None:
    """lost: bytes at the end of the file. A row has about 50, what follows the last one has no scalars."""
    file = written(tmp_path, 4)
    assert file.newest() == 3 == steps(tmp_path)[-1]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-lost])
    assert file.newest() == steps(tmp_path)[-1] < 3
    second = EventFile(tmp_path, 2, {})
    second.configure({"b": 2})
    assert second.newest() == file.newest()


def test_zeros_at_the_end_are_no_record(tmp_path: Path) -> None:
    """What a power cut leaves."""
    file = written(tmp_path, 4)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(60))
    assert file.newest() == steps(tmp_path)[-1] == 2


def test_the_newest_step_of_a_long_run_is_known_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, 60, TABLE)
    file.finish({"a": 1}, 0)
    began = time.process_time()
    assert file.newest() == 59
    assert time.process_time() - began < 0.4  # tensorboard's own reader: 1.4 s
