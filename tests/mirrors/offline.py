"""Reads what wandb 0.31 wrote: run-ID.wandb is a LevelDB log of protobuf records (wandb has no reader in Python)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER = 7  # ":W&B", two bytes of magic, one of version
BLOCK = 32768
CHUNK_HEADER = 7  # checksum 4, length 2, type 1 (1 whole, 2 first, 3 middle, 4 last)


@dataclass
class Recorded:
    """One offline run as it would be uploaded."""

    folder: Path
    run: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    kinds: set[str] = field(default_factory=set)

    def table(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The completions of a row of the history, from the file it names."""
        found = json.loads((self.folder / "files" / row["completions"]["path"]).read_text(encoding="utf-8"))
        return [dict(zip(found["columns"], values, strict=True)) for values in found["data"]]


def records(file: Path) -> list[Any]:
    data, at, found, whole = file.read_bytes(), HEADER, [], b""
    assert data[:4] == b":W&B"
    while at + CHUNK_HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < CHUNK_HEADER:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + CHUNK_HEADER : at + CHUNK_HEADER + length]
        at += CHUNK_HEADER + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            found.append(record)
            whole = b""
    return found


def folders(rundir_wandb: Path) -> list[Path]:
    return sorted(path for path in rundir_wandb.glob("*run-*") if path.is_dir())


def read(folder: Path) -> Recorded:
    recorded = Recorded(folder)
    (file,) = folder.glob("run-*.wandb")
    for record in records(file):
        kind = record.WhichOneof("record_type")
        recorded.kinds.add(kind)
        if kind == "run":
            recorded.run = record.run
            _update(recorded.config, record.run.config.update)
        elif kind == "config":
            _update(recorded.config, record.config.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            recorded.history.append(row)
        elif kind == "summary":
            _update(recorded.summary, record.summary.update)
        elif kind == "exit":
            recorded.exit_code = record.exit.exit_code
    return recorded


def _update(home: dict[str, Any], items: Any) -> None:
    for item in items:
        *way, last = list(item.nested_key) or [item.key]
        place = home
        for key in way:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
