"""Checkpoints that survive: staged, hashed, fsynced, renamed; resume takes the newest that verifies.

A checkpoint is complete or it is not there: transformers writes it into `checkpoints/.staging/`, `publish` adds a
manifest with the size and sha256 of every file and renames the folder into place. A kill, a full disk or a flipped
bit at any moment costs at most the newest checkpoint, never one before it.

No third-party package.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError, Problem, TrainerError, reason
from trainer.machine.regular_files import read_file
from trainer.text import Message

MANIFEST = "MANIFEST.json"
SCHEMA = 2
UNSEALED = 1  # schema of manifests without a hash of themselves; what they said, and of which type:
_SAID = {"run": str, "step": int, "data": str, "model": str, "versions": dict, "held_out": str, "reward_files": dict}
_NOT_ALWAYS = {"held_out", "reward_files"}
SEAL = "manifest_sha256"
_HEAD = "checkpoint-"  # as transformers names them
NAME = re.compile(_HEAD + r"([0-9]+)")
# What a resume needs (transformers 5.17, trainer.py `_save_checkpoint`); without one of them it would diverge silently.
STATE = "trainer_state.json"
REQUIRED = (STATE, "optimizer.pt", "scheduler.pt", "rng_state.pth")
SAMPLER = "sampler.json"  # where trainer.sampling.sampler chooses the prompts
REPLAY = "replay.pt"  # groups that may come again (trainer.sampling.replay)
REFERENCE = "reference.safetensors"  # all weights of a reference that has moved (trainer.grpo.reference)
JUDGE = "reward_model"  # folder of a reward model that has learnt, as transformers saves one (trainer.grpo.learner)
JUDGE_STATE = "reward_learning.pt"  # its optimizer, comparisons and chance
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as PEFT saves them
WEIGHTS = (ADAPTER, "model.safetensors", "model.safetensors.index.json")
# A pickle of the arguments that nothing reads: a resumed run is identical without it.
UNNEEDED = ("training_args.bin",)
SPARE_BYTES = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Checkpoint:
    """One published folder, and the names of the files in it."""

    path: Path
    step: int

    @property
    def state(self) -> Path:
        """What transformers knows of the training: epoch, tokens, history of the log."""
        return self.path / STATE

    def epoch(self) -> float:
        """Passes over the data when it was saved. Raises CheckpointError where it does not say."""
        try:
            return float(json.loads(self.state.read_text(encoding="utf-8"))["epoch"] or 0.0)
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = f"{STATE}: {type(error).__name__}"
            raise CheckpointError(Problem("checkpoint.unreadable", self.path.name, said=said)) from error


def checkpoint_name(step: int) -> str:
    return f"{_HEAD}{step}"


def publish(staged: Path, folder: Path, facts: dict[str, Any]) -> Checkpoint:
    """Turn a complete staged checkpoint into `folder/checkpoint-N`, durable once this returns.

    facts: what the manifest says beside the files (step, settings, fingerprints, versions). Raises CheckpointError when
    a file that a resume needs is not there, OSError when the disk refuses.
    """
    for name in UNNEEDED:
        (staged / name).unlink(missing_ok=True)
    files = {path.relative_to(staged).as_posix(): _describe(path) for path in _files(staged)}
    missing = _missing(files)
    if missing:
        raise CheckpointError(Problem("run.checkpoint_incomplete", staged.name, missing=missing))
    manifest = {"schema": SCHEMA, **facts, "files": files}
    with (staged / MANIFEST).open("w", encoding="utf-8") as out:
        json.dump(manifest | {SEAL: _seal(manifest)}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    for directory in sorted({path.parent for path in _files(staged)}, reverse=True):
        _sync_directory(directory)
    target = folder / staged.name
    if os.path.lexists(target):  # a resumed run reached the same step again
        _remove(target)
    staged.rename(target)
    _sync_directory(folder)
    return Checkpoint(target, _step(target))


def listed(folder: Path) -> list[Checkpoint]:
    """Published checkpoints, oldest first, unverified."""
    if not folder.is_dir():
        return []
    found = [Checkpoint(path, _step(path)) for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_verified(folder: Path) -> tuple[Checkpoint | None, list[tuple[str, Message]]]:
    """(newest checkpoint that verifies or None, [(name, what is wrong)] of newer ones that do not)."""
    skipped: list[tuple[str, Message]] = []
    for checkpoint in reversed(listed(folder)):
        wrong = verify(checkpoint.path)
        if wrong is None:
            return checkpoint, skipped
        skipped.append((checkpoint.path.name, wrong))
    return None, skipped


def verify(path: Path) -> Message | None:
    """None if every file is there with its size and hash, else what is wrong; nothing is raised, whatever is there."""
    try:
        return _verify(path)
    except (OSError, ValueError, RecursionError, MemoryError) as error:  # closed, vanishing or endless files
        return Message("run.checkpoint.unreadable", error=type(error).__name__, said=str(error))


def _verify(path: Path) -> Message | None:
    try:
        manifest = read_manifest(path)
    except (OSError, ValueError, RecursionError) as error:
        return Message("run.checkpoint.no_manifest", file=MANIFEST, error=type(error).__name__)
    if not _known(manifest):
        return Message("run.checkpoint.other_version", seen=manifest.get("schema"), schema=SCHEMA)
    files = manifest.get("files")
    if not isinstance(files, dict) or not _sealed(path, manifest):
        return Message("run.checkpoint.damaged", file=MANIFEST)
    if NAME.fullmatch(path.name) and manifest.get("step", _step(path)) != _step(path):
        return Message("run.checkpoint.other_step", seen=manifest["step"])
    missing = _missing(files)
    if missing:
        return Message("run.checkpoint.not_listed", file=missing[0])
    for name, wanted in files.items():
        file = path / name
        if not os.path.isfile(file):  # False also for a name that no file can have
            return Message("run.checkpoint.missing", file=name)
        seen = file.stat().st_size
        if not isinstance(wanted, dict) or seen != wanted.get("size"):
            size = wanted.get("size") if isinstance(wanted, dict) else wanted
            return Message("run.checkpoint.other_size", file=name, seen=seen, wanted=str(size))
        if _describe(file, sync=False) != wanted:
            return Message("run.checkpoint.other_hash", file=name)
    return None


def read_manifest(path: Path) -> dict[str, Any]:
    """The object in the manifest. Raises OSError when it cannot be read, ValueError when it is something else."""
    manifest = json.loads(read_file(path / MANIFEST))  # a real one has a few thousand bytes
    if not isinstance(manifest, dict):
        raise ValueError("no object")
    return manifest


def sealed_manifest(path: Path) -> dict[str, Any] | None:
    """What the manifest says, if it is whole; the files are not looked at."""
    try:
        manifest = read_manifest(path)
        return manifest if _known(manifest) and _sealed(path, manifest) else None
    except (OSError, ValueError, RecursionError):
        return None


def _known(manifest: dict[str, Any]) -> bool:
    schema = manifest.get("schema")
    return type(schema) is int and schema in (UNSEALED, SCHEMA)


def _sealed(path: Path, manifest: dict[str, Any]) -> bool:
    """Is it what `publish` wrote, to the byte? Of one without a hash only what would be misread can be found."""
    spelt = json.dumps(manifest, indent=1).encode() == read_file(path / MANIFEST)
    if manifest["schema"] == UNSEALED:
        said = {key: type(value) for key, value in manifest.items() if key not in ("schema", "files")}
        return spelt and said.items() <= _SAID.items() and _SAID.keys() - said.keys() <= _NOT_ALWAYS
    rest = {key: value for key, value in manifest.items() if key != SEAL}
    return spelt and manifest.get(SEAL) == _seal(rest)


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


@contextmanager
def saving(folder: Path, name: str) -> Iterator[None]:
    """Whatever keeps checkpoint `name` below `folder` from being saved becomes a CheckpointError that says what to do.

    Any class of error: torch reports a full disk as RuntimeError, Rust's tokenizers all there is as Exception.
    """
    try:
        yield
    except (TrainerError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(_not_saved(folder, name, error)) from error


def _not_saved(folder: Path, name: str, error: Exception) -> Problem:
    said, number = reason(error), getattr(error, "errno", None)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = SPARE_BYTES
    text = str(error).lower()  # Rust's errors carry the system's words and number
    full = number in _FULL or any(mark in text for mark in ("no space left", "quota exceeded", "(os error 28)"))
    if full or (number is None and free < SPARE_BYTES):
        return Problem("run.not_saved_full", name, free=free / 2**20, said=said)
    if number in _CLOSED or "permission denied" in text or "read-only file system" in text:
        return Problem("run.not_saved_closed", name, folder=str(folder), said=said)
    return Problem("run.not_saved", name, said=said)


def set_aside(folder: Path, name: str, why: str = "damaged") -> Path:
    """Rename a checkpoint so that it no longer counts, and is not lost either. why: the first word of its name."""
    target = folder / f"{why}-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    (folder / name).rename(target)
    return target


def rotate(folder: Path, keep: int, best: int | None = None) -> list[str]:
    """Delete the oldest until `keep` are left; names of the deleted. By step, not by time: copying a run changes times.

    The newest stays, and so does the one of step `best`, even where `keep` is 1 (as transformers' save_total_limit).
    """
    present = listed(folder)
    others = [checkpoint for checkpoint in present[:-1] if checkpoint.step != best]
    room = max(0, keep - (len(present) - len(others)))
    surplus = others[: len(others) - room]
    for checkpoint in surplus:
        _remove(checkpoint.path)
    return [checkpoint.path.name for checkpoint in surplus]


def clear_staging(staging: Path) -> None:
    """Forget a save that was cut short."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)


def make_room(
    folder: Path, keep: int = 1, best: int | None = None, beside: Callable[[Path], int] | None = None
) -> list[str]:
    """Before a save: delete the oldest beyond `keep` while the disk cannot take one more; names of the deleted.

    The one of step `best` goes last, the newest never. beside: bytes that are written beside a checkpoint like the
    newest. Raises CheckpointError when even that leaves too little.
    """
    deleted: list[str] = []
    present = listed(folder)
    while present:
        newest = present[-1].path
        need = round(1.2 * (size(newest) + (beside(newest) if beside else 0))) + SPARE_BYTES
        free = shutil.disk_usage(folder).free
        if free >= need:
            break
        if len(present) <= keep:
            raise CheckpointError(Problem("run.disk_full", free=free / 2**30, need=need / 2**30))
        surplus = present[:-keep]
        oldest = next((checkpoint for checkpoint in surplus if checkpoint.step != best), surplus[0])
        present.remove(oldest)
        _remove(oldest.path)
        deleted.append(oldest.path.name)
    return deleted


def _remove(path: Path) -> None:
    """A checkpoint, or what else has the name of one; of a link what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _step(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match.group(1))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)


def size(folder: Path) -> int:
    """Bytes of a checkpoint's files, the manifest not counted."""
    return sum(path.stat().st_size for path in _files(folder))


def _missing(files: dict[str, Any]) -> list[str | Message]:
    missing: list[str | Message] = [name for name in REQUIRED if name not in files]
    return missing if any(name in files for name in WEIGHTS) else [*missing, Message("run.checkpoint.weights")]


def _describe(path: Path, *, sync: bool = True) -> dict[str, Any]:
    """Size and hash of a file; with `sync` its bytes are on the disk afterwards."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sync:
        with path.open("rb+") as file_to_sync:  # Windows syncs only what is open for writing
            os.fsync(file_to_sync.fileno())
    return {"size": path.stat().st_size, "sha256": digest}


def _sync_directory(path: Path) -> None:
    """Make a rename durable. Windows has no directory handles and needs none."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
