"""A process that has imported torch, transformers, TRL and PEFT, and forks instead of starting another interpreter.

Importing them is most of the time of a short run: five seconds of the processor for every worker, and the tests start
some fifty. `python -m tests.warm` listens on the socket $ONEGRPO_WARM. `install` makes `trainer.machine.spawn` ask it
for those of MODULES; what is asked for is forked there with the arguments, environment, files and signal mask it
would have had, leads a session of its own, and runs the module as `python -m` does. The warm process imports nothing of
`trainer`.

The product knows nothing of it, and only tests that ask for the fixture `warm` are served, and the pages of
tests/e2e/browser; the runs of a module's fixtures (`whole` in tests/e2e) and all others start as they do for everybody.
`python -m tests.warm app ARGUMENTS` is `python app.py ARGUMENTS` with workers from the warm process, and
`python -m tests.warm MODULE` holds what that module imports instead of LIBRARIES: `gradio` for the pages of most tests
(the fixture `pages`). The tests that run side by side share them (`shared`).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOCKET = "ONEGRPO_WARM"
OWNER = "ONEGRPO_WARM_OWNER"  # pid of the process it must not outlive
PROJECT = Path(__file__).resolve().parents[1]
MODULES = {
    "trainer.worker",
    "trainer.tryit",
    "tests.e2e.starved_worker",
    "tests.unsloth_cpu.worker",
    "tests.unsloth_cpu.steps",
    "tests.vllm_cpu.facts",
    "tests.vllm_cpu.stale_worker",
}
LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "trl",
    "trl.trainer.grpo_trainer",
    "bitsandbytes",
)


class Forked(subprocess.Popen[bytes]):
    """What `subprocess.Popen` says of a child, of one that the warm process forked."""

    def __init__(
        self, arguments: Sequence[str], out: int, cwd: Path, env: Mapping[str, str], warm: str | Path | None = None
    ) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(warm or os.environ[SOCKET]))
        self._ended = threading.Lock()
        self.args, self.returncode = list(arguments), None
        self.stdin = self.stdout = self.stderr = None
        held = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        asked = {"arguments": [*arguments], "cwd": str(cwd), "env": dict(env), "held": held}
        socket.send_fds(self._server, [json.dumps(asked).encode() + b"\n"], [out])
        said = b""
        while not said.endswith(b"\n"):
            said += self._server.recv(1) or b"0\n"
        self.pid = int(said)

    def wait(self, timeout: float | None = None) -> int:
        with self._ended:
            if self.returncode is None:
                self._server.settimeout(timeout)
                try:
                    said = self._server.recv(100)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
                self.returncode = int(said or -signal.SIGKILL)
                self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def __del__(self, *_: Any) -> None: ...


def asking() -> Any:
    """The module subprocess as trainer.machine.spawn is to see it."""

    class Asking(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(subprocess, name)

        @staticmethod
        def Popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
            if command[1] != "-m" or command[2] not in MODULES:
                return subprocess.Popen(command, **options)
            return Forked(command[2:], options["stdout"].fileno(), options["cwd"], options["env"])

    return Asking("subprocess")


@contextlib.contextmanager
def process(path: Path, *modules: str) -> Iterator[Path]:
    """A warm process that listens on this socket; with what these modules import, or LIBRARIES."""
    with _begun(path, modules, owner=os.getpid()) as begun:
        try:
            yield path
        finally:  # leaving the block waits for it
            begun.kill()


def shared(folder: Path, name: str, *modules: str) -> Path:
    """The socket of one for all tests that run side by side, in the session's folder; begun when it is first asked for.

    It ends with the process that owns the session: xdist's, whose workers may end one after the other.
    """
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    path = (folder.parent if is_one_of_several else folder) / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _SHARED.append(_begun(path, modules, owner=os.getppid() if is_one_of_several else os.getpid()))
    return path


_SHARED: list[subprocess.Popen[bytes]] = []  # those that this process has begun; a Popen that is forgotten complains


def _begun(path: Path, modules: Sequence[str], owner: int) -> subprocess.Popen[bytes]:
    from trainer.machine import spawn

    own = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_")} | spawn.ENVIRONMENT
    own |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "GRADIO_ANALYTICS_ENABLED": "False"}
    own |= {SOCKET: str(path), OWNER: str(owner)}
    command = [sys.executable, "-m", "tests.warm", *modules]
    begun = subprocess.Popen(command, env=own, cwd=PROJECT, stdout=subprocess.PIPE)
    assert begun.stdout is not None
    assert b"warm\n" in begun.stdout  # read until then: the libraries have their own to say
    return begun


def app(environment: Mapping[str, str], *arguments: str) -> list[str]:
    """`python app.py ARGUMENTS`; in an environment that knows a warm process, with workers forked from it."""
    program = ["-m", "tests.warm", "app"] if SOCKET in environment else ["app.py"]
    return [sys.executable, *program, *arguments]


def install() -> None:
    """From here on `spawn.detached` of this process, and of what it starts, asks the warm process."""
    from trainer.machine import spawn

    spawn.subprocess = asking()  # type: ignore[attr-defined]


def serve(path: str) -> dict[str, Any]:
    """Listen until the owner is gone. Returns in a forked child only: what it is to be."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(50)
    print("warm", flush=True)
    children: dict[int, socket.socket] = {}
    listening.settimeout(0.02)
    while _is_there(int(os.environ[OWNER])):
        _reap(children)
        try:
            asking, _ = listening.accept()
        except TimeoutError:
            continue
        asking.setblocking(True)
        data, files, *_ = socket.recv_fds(asking, 1 << 20, 1)
        while not data.endswith(b"\n"):
            data += asking.recv(1 << 20)
        asked: dict[str, Any] = json.loads(data)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            asking.sendall(f"{os.getpid()}\n".encode())
            for each in (listening, asking, *children.values()):
                each.close()
            return asked | {"out": files[0]}
        os.close(files[0])
        children[pid] = asking
    raise SystemExit


def _is_there(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _reap(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            with children.pop(pid) as asking, contextlib.suppress(OSError):
                asking.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def become(arguments: Iterable[str], cwd: str, env: dict[str, str], held: list[int], out: int) -> None:
    """In the child: `python -m ARGUMENTS` from its first line on."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - as PYTHONUNBUFFERED has it
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    if SOCKET in os.environ:
        install()
    module, *rest = arguments
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    if sys.argv[1:2] == ["app"]:
        install()
        sys.argv = ["app.py", *sys.argv[2:]]
        runpy.run_path(str(PROJECT / "app.py"), run_name="__main__")
        return
    for name in sys.argv[1:] or LIBRARIES:
        importlib.import_module(name)
    assert not any(name == "trainer" or name.startswith("trainer.") for name in sys.modules)
    become(**serve(os.environ[SOCKET]))


if __name__ == "__main__":
    main()
