"""Trackio's local store: a SQLite file in the run's folder, a row a step, completions as a table.

Through trackio 0.43's SQLiteStorage.bulk_log, which trackio.log ends in too. trackio.init would start a web server and
a thread that sends later: here a row is on the disk when `log` returns, and what goes wrong is raised.
"""

from __future__ import annotations

import datetime
import math
from typing import Any

from trainer.mirrors.completions import Completions

PROJECT = "onegrpo"
_TABLE = "trackio.table"  # trackio.table.Table.TYPE


class Store:
    """One run of the project; its folder is $TRACKIO_DIR, read when trackio is imported (trainer.mirrors.local)."""

    def __init__(self, name: str, run_id: str, config: dict[str, Any]) -> None:
        """Raises ImportError without trackio, OSError and sqlite3.Error where its file cannot be written."""
        from trackio.sqlite_storage import SQLiteStorage

        self._storage, self.name, self.run_id = SQLiteStorage, name, run_id
        self._config, self._changed = config, True
        self._storage.init_db(PROJECT)

    def configure(self, config: dict[str, Any]) -> None:
        """Stored with the next row."""
        self._config, self._changed = self._config | config, True

    def log(self, step: int, t: float, values: dict[str, Any], completions: Completions | None) -> None:
        row = {name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)}
        if completions is not None:
            rows = [dict(zip(completions.columns, cells, strict=True)) for cells in completions.rows]
            row["completions"] = {"_type": _TABLE, "_value": rows}
        self._write(step, datetime.datetime.fromtimestamp(t, datetime.UTC), row)

    def finish(self, summary: dict[str, Any], exit_code: int) -> None:
        """The config of the run says how it ended: Trackio has no summary, and keeps a config beside rows only."""
        self._config = self._config | {"summary": summary, "exit_code": exit_code}
        self._changed = True
        if (newest := self.newest()) >= 0:
            self._write(newest, datetime.datetime.now(datetime.UTC), {})  # that row is there and stays as it is

    def newest(self) -> int:
        """The newest step in the file; -1 for none."""
        found = self._storage.get_last_step(PROJECT, self.name, run_id=self.run_id)
        return -1 if found is None else int(found)

    def _write(self, step: int, when: datetime.datetime, row: dict[str, Any]) -> None:
        self._storage.bulk_log(
            PROJECT,
            self.name,
            [row],
            steps=[step],
            timestamps=[when.isoformat()],
            config=self._config if self._changed else None,
            log_ids=[f"{self.run_id}-{step}"],  # a second row of that id is ignored
            run_id=self.run_id,
        )
        self._changed = False
