"""Real workers that are killed: a small preset, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.run.rundir import RunDir


def small_preset(folder: Path, text: str) -> Path:
    """Eleven rows: two and three quarters of a batch of four an epoch, so that checkpoints lie inside of epochs."""
    rows = [{"prompt": f"word {n}", "answer": "abcdefghijk"[: n + 1]} for n in range(11)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    path = folder / "small.toml"
    path.write_text(text, "utf-8")
    return path


def finish(run: RunDir, worker: Any) -> None:
    assert worker.process.wait(timeout=240) == 0, run.log_file(worker.attempt).read_text()[-3000:]
