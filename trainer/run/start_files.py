"""start/ of a run's folder: the adapter that its training starts from, as it was when the run was made.

Copied whole or not at all, with what it came from in env.json; whatever becomes of the source, the run starts, resumes
and is compared with the same weights. Torch-free.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, reason
from trainer.machine.json_files import read_json, sync_folder
from trainer.run.checkpoints import ADAPTER, ADAPTER_CONFIG
from trainer.text import Message

FILES = (ADAPTER, ADAPTER_CONFIG)
PLACE = "model.adapter"
NOTED = "start"  # in env.json
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Origin:
    """What model.adapter means at this moment.

    folder: where its files are; None on the Hub. run, step: of the checkpoint it is. trained_on: the base weights as
    the checkpoint's manifest names them; base: their name in its settings. revision: commit of the Hub's repository.
    """

    typed: str
    folder: Path | None
    run: str | None = None
    step: int | None = None
    trained_on: str | None = None
    base: str | None = None
    revision: str | None = None

    def message(self) -> Message:
        """What it is, for people."""
        return _said(vars(self))

    def noted(self, hashes: dict[str, str]) -> dict[str, Any]:
        """As env.json says it."""
        said = {"typed": self.typed, "run": self.run, "step": self.step, "trained_on": self.trained_on}
        return said | {"revision": self.revision, "sha256": hashes}


def message(noted: dict[str, Any]) -> Message:
    """What a run has started from, by what its env.json says."""
    return _said({"revision": None, "run": None, "step": None, "typed": "?"} | noted)


def _said(facts: dict[str, Any]) -> Message:
    if facts["run"] is not None and facts["step"] is not None:
        return Message("run.start.run", run=facts["run"], step=facts["step"])
    if facts["revision"]:
        return Message("run.start.hub", name=facts["typed"], commit=str(facts["revision"])[:12])
    return Message("plain.text", text=facts["typed"])


def taken_in(origin: Origin, target: Path) -> dict[str, Any]:
    """Copy its files into the folder `target`, durable once this returns; what env.json is to say of it.

    Raises RunError when they are gone or the disk refuses.
    """
    assert origin.folder is not None, "fetched before"
    draft = target.with_name(f".{target.name}-draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        hashes = {name: _copied(origin.folder / name, draft / name) for name in FILES}
        sync_folder(draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        key = "run.start_disk_full" if error.errno in _FULL else "run.start_not_copied"
        raise RunError(Problem(key, PLACE, source=str(origin.folder), said=reason(error))) from error
    return origin.noted(hashes)


def _copied(source: Path, target: Path) -> str:
    """sha256 of the copy, whose bytes are on the disk."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(env: Path) -> dict[str, Any] | None:
    """What env.json says of the start; None of a run that starts anew, or was made before starts were kept."""
    return of_env(read_json(env) or {})


def of_env(env: dict[str, Any]) -> dict[str, Any] | None:
    """The same of what env.json holds."""
    found = env.get(NOTED)
    return found if isinstance(found, dict) and isinstance(found.get("sha256"), dict) else None


def damaged(folder: Path, noted: dict[str, Any]) -> str | None:
    """The name of a file that is not as it was taken in; None when all are."""
    for name in FILES:
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return name
        if digest != noted["sha256"].get(name):
            return name
    return None
