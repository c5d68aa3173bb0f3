"""A mirror's process: python -m trainer.mirrors RUN_DIR ATTEMPT [--service NAME]

Follows events.jsonl of one attempt and feeds one service. Started by the worker in a session of its own; it ends by
itself, whatever the service does. It may fail in any way: what it says of itself is in its note (trainer.mirrors.note),
the rest in its log. Here too: where a copy for W&B goes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil

from trainer.machine.process import Lock
from trainer.machine.secrets import Redactor
from trainer.mirrors import local, probe
from trainer.mirrors.feed import Feed, Guard, first_config
from trainer.mirrors.note import Note
from trainer.mirrors.recorded import newest_step, remove_empty
from trainer.mirrors.wandb_run import Mode, WandbRun, Wish, keep_inside, wish
from trainer.run import entrance, mirror_files
from trainer.run.mirror_files import NAMES, WANDB
from trainer.run.records import AlertEvent, Event, Level, RunStartedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import named_itself
from trainer.text import Message

BEGIN_S = 14.0  # from its start until W&B has the run: START_S of the worker less the way offline
LOCK_S = 8.0  # for the mirror of the attempt before to send its last rows


def main(path: str | Path, attempt: int, why_offline: str = "", service: str = WANDB) -> int:
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):  # a service manager ends all at once; this ends after the worker
        signal.signal(number, signal.SIG_IGN)
    logging.raiseExceptions = False  # where W&B cannot write its log, pages about that would fill ours
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # the rewards of the next step come first
    rundir = RunDir(Path(path))
    environment = (keep_inside if service == WANDB else local.keep_inside)(rundir, os.environ)
    os.environ.clear()
    os.environ.update(environment)
    with Lock(mirror_files.lock(rundir, service)) as lock:
        if not lock.take(f"pid {os.getpid()}", LOCK_S):
            print("another mirror of this run is at work; this one ends", flush=True)  # its note is not ours to write
            return 1
        note = Note(rundir, attempt, service)
        why = Message.read(json.loads(why_offline)) if why_offline else None
        try:
            return _mirror(rundir, attempt, note, lock, why, began)
        except Exception as error:
            traceback.print_exc()
            with contextlib.suppress(OSError):  # the disk is full
                note.fail(_reason(error))
            return 1


def _reason(error: Exception) -> Message | str:
    if isinstance(error, ModuleNotFoundError):
        return Message("mirror.why.no_package", package=(error.name or str(error)).partition(".")[0])
    return Redactor(os.environ).text(f"{type(error).__name__}: {error}".splitlines()[0])


def _mirror(rundir: RunDir, attempt: int, note: Note, lock: Lock, why_offline: Message | None, began: float) -> int:
    follower = RunFollower(rundir)
    events: list[Event] = follower.read()
    started = (event for event in events if isinstance(event, RunStartedEvent) and event.attempt == attempt)
    worker = next(map(named_itself, started), None)
    if worker is None:
        raise ValueError(f"the log has no run_started of attempt {attempt}")
    guard = Guard(worker, note.service)
    guard.start()
    if note.service != WANDB:
        feed: Feed | None = local.begin(rundir, attempt, note, guard)
    else:
        feed = _to_wandb(rundir, attempt, note, guard, why_offline, began)
    return feed.until_ended(follower, events, lock) if feed is not None else 0


def _to_wandb(
    rundir: RunDir, attempt: int, note: Note, guard: Guard, why_offline: Message | None, began: float
) -> Feed | None:
    """None where wandb's settings say that nothing is to be copied."""
    if os.environ.get("WANDB_MODE") == "disabled":  # before half a second of imports
        note.say("disabled", AlertEvent.of("info", "mirror_off_variable"))
        return None
    offline = functools.partial(_again_offline, rundir, attempt, set(rundir.wandb.glob("run-*")))
    late = threading.Timer(BEGIN_S - (time.monotonic() - began), offline, [Message("mirror.why.late")])
    late.daemon = True
    if why_offline is None:
        late.start()
    chosen = wish()
    if chosen.mode == "disabled":
        note.say("disabled", AlertEvent.of("info", "mirror_off_settings"))
        return None
    if note.torn:
        note.believe(newest_step(rundir, note.run_id))
        remove_empty(rundir, note.run_id)
    redactor = Redactor(os.environ, [chosen.key] if chosen.key else [])
    mode, level, why = _where(chosen, why_offline)
    try:
        run = WandbRun(rundir, note.run_id, chosen, mode, redactor.config(first_config(rundir)))
    except Exception as error:
        if mode == "offline":
            raise
        traceback.print_exc()
        late.cancel()
        said = redactor.text(f"{type(error).__name__}: {error}".splitlines()[0])
        offline(Message("mirror.why.not_begun", said=said))
    late.cancel()
    note.say(mode, _goes_to(run, level, why, chosen), run.url or str(run.folder))
    newest = functools.partial(newest_step, rundir, note.run_id)
    return Feed(rundir, attempt, note, run, newest, redactor, guard)


def _where(chosen: Wish, why_offline: Message | None) -> tuple[Mode, Level, Message | None]:
    """(mode, level of the alert, why offline)."""
    if why_offline is not None:
        return "offline", "warn", why_offline
    if chosen.mode == "offline":
        return "offline", "info", Message("mirror.why.settings")
    if not chosen.has_key:
        return "offline", "info", Message("mirror.why.no_key")
    trouble = probe.trouble(chosen.base_url, chosen.key)
    return ("offline", "warn", trouble) if trouble else ("online", "info", None)


def _goes_to(run: WandbRun, level: Level, why: Message | None, chosen: Wish) -> AlertEvent:
    if run.url:
        return AlertEvent.of(level, "mirror_online", url=run.url)
    program = shlex.quote(str(Path(sys.executable).with_name("wandb")))
    known = f"{program} login; " if not chosen.has_key else ""
    typed = f"{known}{program} sync {shlex.quote(str(run.folder))}"
    refused = why is not None and why.key == probe.REFUSED
    return AlertEvent.of(level, "mirror_offline_key" if refused else "mirror_offline", why=why, typed=typed)


def _again_offline(rundir: RunDir, attempt: int, before: set[Path], why: Message) -> None:
    """Become a fresh process that does not try to go online: whatever hangs in this one is gone with it.

    before: W&B's folders of earlier attempts. The one begun since holds no row and would be uploaded as a run.
    """
    print(f"{why}: going offline", flush=True)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    for folder in set(rundir.wandb.glob("run-*")) - before:
        shutil.rmtree(folder, ignore_errors=True)
    said = json.dumps(why.stored())
    os.execv(sys.executable, [sys.executable, "-m", "trainer.mirrors", str(rundir.path), str(attempt), said])


if __name__ == "__main__":
    parser = entrance.parser("trainer.mirrors", "Feed a service from the events of one attempt of a run.")
    parser.add_argument("attempt", type=int, metavar="ATTEMPT")
    parser.add_argument("why_offline", nargs="?", default="", help=argparse.SUPPRESS)  # of `_again_offline`
    parser.add_argument("--service", choices=NAMES, default=WANDB, help="which (default: %(default)s)")
    given = parser.parse_args()
    sys.exit(main(given.rundir.path, given.attempt, given.why_offline, given.service))
