"""What a contest wants of every epoch: the held-out answers in inference_epochE.json, the adapter in epoch_E/.

Torch-free. Both are whole or not there.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.machine.json_files import sync_folder, write_json
from trainer.rewards.library.korean import normalise_answer
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

SHOWN = ("question_type", "question")
"""Columns of a row that its answer is written with, where it has them."""
FOR_RESUMING = {
    *(*checkpoints.REQUIRED, *checkpoints.UNNEEDED, checkpoints.MANIFEST, checkpoints.REFERENCE),
    *(checkpoints.JUDGE_STATE, "scaler.pt"),
}
"""What of a checkpoint only a resumed run reads."""


def epoch_label(epoch: float) -> str:
    """ "2" after two whole passes over the data, "1.5" between two: at most 4 decimals. Raises ValueError below 0."""
    if not math.isfinite(epoch) or epoch < 0:
        raise ValueError(f"no epoch: {epoch}")
    return f"{epoch:.4f}".rstrip("0").rstrip(".")


def write(rundir: RunDir, label: str, rows: Sequence[dict[str, Any]], texts: Sequence[str]) -> Path:
    """Write inference_epoch{label}.json: for every held-out row its id, its question and the answer.

    id: the row's own, else its number in its file, else in `rows`, from 0. A row without the column `question` is
    written with the text of its prompt. normalised_answer: as trainer.rewards.library.korean.normalise_answer has it.
    Raises CheckpointError when it cannot be written.
    """
    path = rundir.inference_file(label)
    found = [_entry(number, row, text) for number, (row, text) in enumerate(zip(rows, texts, strict=True))]
    with checkpoints.saving(rundir.path, path.name):
        write_json(path, found)
    return path


def _entry(number: int, row: dict[str, Any], text: str) -> dict[str, Any]:
    shown = {name: row[name] for name in SHOWN if name in row}
    shown.setdefault("question", asked(row.get("prompt")))
    name = row.get("id", getattr(row, "number", number))
    return {"id": name, **shown, "answer": text, "normalised_answer": normalise_answer(text)}


def asked(prompt: Any) -> str | None:
    """The text of a prompt, of a chat that of its last message; None without one."""
    if isinstance(prompt, list) and prompt:
        return str(prompt[-1].get("content", ""))
    return prompt if isinstance(prompt, str) else None


def copy_adapter(checkpoint: Path, rundir: RunDir, label: str) -> Path:
    """Copy the trained weights, their config and the tokenizer of a published checkpoint to epoch_{label}/.

    That is the adapter, for PeftModel.from_pretrained, or all weights of a run without one. A folder of that name is
    replaced: a resumed run reaches the same epoch again. Raises CheckpointError when it cannot be written.
    """
    target = rundir.epoch_folder(label)
    draft = rundir.staging / target.name
    with checkpoints.saving(rundir.path, target.name):
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            for source in _copied(checkpoint):
                _copy(source, draft / source.name)
            sync_folder(draft)
            if target.exists():
                shutil.rmtree(target)
            draft.rename(target)
            sync_folder(rundir.path)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return target


def copied_size(checkpoint: Path) -> int:
    """Bytes that copy_adapter writes for such a checkpoint."""
    return sum(path.stat().st_size for path in _copied(checkpoint))


def _copied(checkpoint: Path) -> Iterator[Path]:
    return (path for path in sorted(checkpoint.iterdir()) if path.is_file() and path.name not in FOR_RESUMING)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb+") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())
