"""Held-out rows as episodes, written greedily by the trainer whose loop of turns writes those of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.evaluate.answering import Answers, Interrupted
from trainer.grpo.dialogues import converse


def answer(
    trainer: Any, rows: Sequence[dict[str, Any]], batch_size: int, interrupted: Interrupted = lambda: False
) -> Answers | None:
    """One episode for each row, `batch_size` at once; None when `interrupted` between two batches. A row begins with
    the same seed in every evaluation."""
    found = Answers([], [], [])
    for start in range(0, len(rows), batch_size):
        if interrupted():
            return None
        completions, ids, played = converse(trainer, list(rows[start : start + batch_size]), start)
        found.completions.extend(completions)
        found.ids.extend(ids)
        found.played.extend(played)
    return found
