"""Which process is meant: identity that survives pid reuse, exact signals, locks that die with it.

A pid alone names whoever has it now. With the start time and the boot it names one process for
ever; no signal leaves here without that check. Locks belong to open files: `kill -9` frees them.
psutil is asked where there is no /proc. Knows nothing about runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from trainer.machine.regular_files import handle_of, read_file

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """One process. started: kernel start ticks as text (psutil's creation time without /proc)."""

    pid: int
    started: str
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Identity of the process that has this pid now; a zombie still has one."""
        started = _stat(pid)
        return cls(pid, started[1], boot_id()) if started else None

    @classmethod
    def mine(cls) -> Self:
        mine = cls.of(os.getpid())
        assert mine is not None, "a running process has an identity"
        return mine

    @classmethod
    def read(cls, stored: Any) -> Self | None:
        """From a JSON object with pid, pid_started and boot_id; None when it is not one."""
        if not isinstance(stored, dict):
            return None
        pid, started, boot = (stored.get(key) for key in ("pid", "pid_started", "boot_id"))
        # Below 2 are init and the "everybody" of kill(2); the kernel has no larger number.
        if type(pid) is not int or not 2 <= pid < 2**31 or not started or not boot:
            return None
        return cls(pid, str(started), str(boot))

    def stored(self) -> dict[str, Any]:
        return {"pid": self.pid, "pid_started": self.started, "boot_id": self.boot_id}

    def alive(self) -> bool:
        """Is exactly this process still executing? A zombie has ended."""
        if self.boot_id != boot_id():
            return False
        now = _stat(self.pid)
        return now is not None and now[1] == self.started and now[0] not in "ZX"

    def send(self, number: int) -> bool:
        """Signal exactly this process; False when it has ended."""
        if sys.platform != "linux":
            if not self.alive():
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
                return True
            return False
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        except OSError:  # a sandbox without pidfd: a tiny race is left between check and signal
            return self.alive() and _quiet(os.kill, self.pid, number)
        try:
            # The handle is of whoever had the pid just now. Checked after it was taken, it cannot
            # come to mean another process any more.
            return self.alive() and _quiet(signal.pidfd_send_signal, handle, number)
        finally:
            os.close(handle)

    def kill_group(self) -> bool:
        """SIGKILL to this process and its process group; False when it has ended."""
        if not self.alive():
            return False
        if sys.platform == "win32":
            family = [psutil.Process(self.pid)]
            family += family[0].children(recursive=True)
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            return True
        # A worker is started as leader of its own group. One started by hand may share our group.
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(self.pid) == self.pid:
                return _quiet(os.killpg, self.pid, signal.SIGKILL)
        return self.send(signal.SIGKILL)


def boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return f"{psutil.boot_time():.0f}"


def _stat(pid: int) -> tuple[str, str] | None:
    """(state letter, start time) of a pid; None when nobody has it."""
    if sys.platform != "linux":
        try:
            process = psutil.Process(pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return ("Z" if zombie else "R", f"{process.create_time():.2f}")
        except psutil.NoSuchProcess:
            return None
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may itself hold ") ".
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), fields[19].decode()  # fields 3 and 22 of proc(5)


def _quiet(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except ProcessLookupError:
        return False
    return True


class Lock:
    """An exclusive lock on a file, with a note in it for whoever finds it taken.

    Held until `release` or the end of the process, whichever way it ends. Children do not get it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def take(self, note: str, wait_s: float = 0.0) -> bool:
        """True when taken; False when another process still holds it after wait_s seconds. Raises OSError, NotAFile for
        what is none: it could be held by nobody."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = handle_of(self.path, os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + wait_s
        while not _lock(fd):
            if time.monotonic() >= deadline:
                os.close(fd)
                return False
            time.sleep(0.05)
        os.ftruncate(fd, 0)
        os.write(fd, note.encode())
        self._fd = fd
        _HELD.add(self)
        return True

    def note(self) -> str:
        """What the holder wrote."""
        try:
            return read_file(self.path).decode("utf-8", "replace").strip()
        except OSError:  # not there any more, or no file; Windows locks the bytes as well
            return ""

    def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def _drop_in_child() -> None:
    """A forked child shares the locks: it would hold them on when this process is killed."""
    for lock in list(_HELD):
        lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> bool:
        os.lseek(fd, 1 << 20, os.SEEK_SET)  # beyond the note, which then stays readable
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
