"""Which rows W&B's files really hold: after a kill, fewer than it was given.

wandb's program collects 32 KB before it writes and drops them when the mirror is killed. Its file run-ID.wandb is a
LevelDB log of protobuf records; wandb 0.31 has no reader for it in Python, only the records' types.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer.run.rundir import RunDir

_FILE_HEADER = 7  # ":W&B", magic, version
_BLOCK = 32768
_CHUNK_HEADER = 7  # checksum 4, length 2, kind 1
_ENDS = (1, 4)  # kinds: 1 whole record, 2 first part, 3 middle, 4 last
_STEP = "_step"


def newest_step(rundir: RunDir, run_id: str) -> int | None:
    """The newest step on disk, all attempts together; -1 when the folders hold no row, None when there are none."""
    return max((_newest(folder) for folder in _folders(rundir, run_id)), default=None)


def remove_empty(rundir: RunDir, run_id: str) -> None:
    """Remove folders without any row: what a kill left of an attempt, `wandb sync` cannot read it."""
    for folder in list(_folders(rundir, run_id)):
        if _newest(folder) < 0:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(rundir: RunDir, run_id: str) -> Iterator[Path]:
    return rundir.wandb.glob(f"*run-*-{run_id}")


def _newest(folder: Path) -> int:
    return max((step for file in folder.glob("run-*.wandb") for step in _steps(file)), default=-1)


def _steps(file: Path) -> Iterator[int]:
    from wandb.proto import wandb_internal_pb2

    for data in _records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            if item.key == _STEP or list(item.nested_key) == [_STEP]:
                yield int(item.value_json)


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records; what is left of a last one is passed over."""
    at, record = _FILE_HEADER, b""
    while at + _CHUNK_HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _CHUNK_HEADER:
            at += left  # padding
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        at += _CHUNK_HEADER
        record += data[at : at + length]
        at += length
        if at > len(data) or kind == 0:
            return
        if kind in _ENDS:
            yield record
            record = b""
