"""Services that only write files into the run's folder: no network, nothing to log in to.

Their files are the truth about which steps they have, so a row is written once whatever was killed in between.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from trainer.machine.secrets import Redactor
from trainer.mirrors import tensorboard_files, trackio_store
from trainer.mirrors.feed import Feed, Guard, first_config
from trainer.mirrors.note import Note
from trainer.run import mirror_files
from trainer.run.mirror_files import NAMES, TENSORBOARD, TRACKIO
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir

# What would send Trackio's rows to a Space, a bucket or another server.
_FOREIGN = ("SYSTEM", "SPACE_ID", "PERSISTANT_STORAGE_ENABLED")


def keep_inside(rundir: RunDir, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the services, before they are imported: their files stay here, and nothing is asked."""
    rest = {
        name: value for name, value in environment.items() if name not in _FOREIGN and not name.startswith("TRACKIO_")
    }
    quiet = dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"), "1")
    return {**rest, **quiet, "TRACKIO_DIR": str(mirror_files.folder(rundir, TRACKIO))}


def begin(rundir: RunDir, attempt: int, note: Note, guard: Guard) -> Feed:
    """Open the service's files and say in the note where they are. Raises ImportError without its package, OSError."""
    redactor, folder = Redactor(os.environ), mirror_files.folder(rundir, note.service)
    folder.mkdir(exist_ok=True)
    config = redactor.config(first_config(rundir))
    run: tensorboard_files.EventFile | trackio_store.Store
    if note.service == TENSORBOARD:
        run = tensorboard_files.EventFile(folder, attempt, config)
    else:
        run = trackio_store.Store(redactor.text(rundir.name), note.run_id, config)
    note.sent = run.newest()
    typed = _typed(note.service, folder)
    note.say("local", AlertEvent.of("info", "mirror_local", service=NAMES[note.service], typed=typed), str(folder))
    return Feed(rundir, attempt, note, run, run.newest, redactor, guard)


def _typed(service: str, folder: Path) -> str:
    """The command that shows what is in the folder."""
    program = shlex.quote(str(Path(sys.executable).with_name(service)))
    if service == TENSORBOARD:
        return f"{program} --logdir {shlex.quote(str(folder))}"
    return f"TRACKIO_DIR={shlex.quote(str(folder))} {program} show --project {trackio_store.PROJECT}"
