"""Python that a model wrote, run where it can harm nothing: bubblewrap, rlimits, a system call filter, a clock.

What the program finds: its interpreter with the standard library, an empty /tmp of TMP_MB in memory, /dev/null, zero,
random and urandom. Not there: the network, the home folder, the project, /etc, /proc, /sys, a shell, the host's
environment and its processes. It can start threads, but no second process. When it ends, all of it is gone.

There is no way around it: where bubblewrap does not work nothing is run. Not covered: holes in the Linux kernel, which
the program shares with the host, and what can be learnt from timing.

Imports no library. Runs on Linux only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from trainer.errors import Problem, RewardError
from trainer.rewards import seccomp

Reason = Literal["exited", "timeout", "output"]

TMP_MB = 16
NOBODY = "65534"
PROGRAM = "/program.py"
STARTED = b"+"
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
READABLE = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
# Set order and with it many outputs follow the hash seed: one program, one reward.
ENVIRONMENT = {"PYTHONHASHSEED": "0"}
CHUNK = 65536

# The first byte of the output says that limits stand and the program begins. Before it every failure is the sandbox's.
# The program runs in the namespace of __main__, as it would from a file: dataclasses and pickle look there.
LAUNCHER = """
def start():
    import os, resource, sys
    for name, limit in {limits!r}.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    with open({program!r}, "rb") as file:
        source = file.read()
    sys.argv = [{program!r}]
    os.write(1, {started!r})
    return compile(source, {program!r}, "exec")
exec(globals().pop("start")())
"""


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    ok: bool
    """It ended by itself, within its limits, with exit code 0."""
    exit_code: int | None
    """128 + the number where a signal ended it; None where it was killed for `reason`."""
    stdout: str
    stderr: str
    """Bytes that are no UTF-8 become U+FFFD in both."""
    seconds: float
    """Wall clock, the start of the sandbox included."""
    reason: Reason
    """`exited`, or the limit it was killed for: `timeout`, `output`."""


def run(code: str, *, stdin: str = "", timeout_s: float, memory_mb: int, output_bytes: int) -> Result:
    """Run a Python program as __main__ in a sandbox of its own.

    timeout_s: wall clock of everything. memory_mb: address space of the program; beside it lie TMP_MB of files.
    output_bytes: what stdout and stderr may hold each; a program that writes more is killed.
    Raises RewardError when there is no working sandbox here; then the program was not run.
    """
    begin = time.monotonic()
    with (
        _descriptor(code.encode("utf-8", "replace")) as program,
        _descriptor(_rules()) as rules,
        _descriptor(b"") as info,
    ):
        process = subprocess.Popen(
            _command(program, rules, info, _limits(timeout_s, memory_mb)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(program, rules, info),
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        with process:
            try:
                data = stdin.encode("utf-8", "replace")
                stdout, stderr, reason = _exchange(process, data, begin + timeout_s, output_bytes)
            finally:
                if process.poll() is None:
                    _kill(process, info)
    seconds = time.monotonic() - begin
    if reason == "exited" and not stdout.startswith(STARTED):
        raise RewardError(_trouble_in(stderr.decode("utf-8", "replace")))
    exit_code = process.returncode if reason == "exited" else None
    return Result(
        ok=exit_code == 0,
        exit_code=exit_code,
        stdout=stdout[len(STARTED) :].decode("utf-8", "replace"),
        stderr=stderr.decode("utf-8", "replace"),
        seconds=seconds,
        reason=reason,
    )


def trouble() -> Problem | None:
    """None when a trial run works on this machine, else why not and what to type. Success is remembered."""
    global _works
    if not _works:
        try:
            trial = run("print(6 * 7)", timeout_s=10, memory_mb=128, output_bytes=1000)
        except RewardError as error:
            return error.problems[0]
        if trial.stdout != "42\n":
            return Problem("rewards.sandbox_trial", how=trial.reason, said=trial.stderr[-200:])
        _works = True
    return None


_works = False


def available() -> str | None:
    """None when the sandbox works on this machine, else one line with the reason and what to type."""
    problem = trouble()
    return None if problem is None else str(problem)


def _command(program: int, rules: int, info: int, limits: dict[str, int]) -> list[str]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise RewardError(Problem("rewards.sandbox_missing"))
    python = str(Path(sys.executable).resolve())
    command = [bwrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session"]
    # With a process of its own in between bubblewrap leaves a zombie a run to the machine's init, and the first process
    # of a container often collects none. A program without children needs nobody in between.
    command += ["--as-pid-1", "--info-fd", str(info)]
    command += ["--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox"]
    for folder in ("/lib", "/lib64"):  # links into /usr in most distributions
        link = os.path.islink(folder)
        command += ["--symlink", os.readlink(folder), folder] if link else ["--ro-bind-try", folder, folder]
    # At their own places: an interpreter built as a shared library knows the path of its library.
    for path in (*READABLE, f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64"):
        command += ["--ro-bind-try", path, path]
    command += ["--ro-bind", python, python]
    for path in DEVICES:
        command += ["--dev-bind", path, path]
    command += ["--size", str(TMP_MB * 2**20), "--tmpfs", "/tmp", "--file", str(program), PROGRAM]
    # The root is in memory and without a size: last of all nothing more is written to it.
    command += ["--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(rules), "--"]
    # -P -s -S: nothing but the standard library can be imported. -B: no .pyc files. No -E, for ENVIRONMENT is ours.
    launcher = LAUNCHER.format(limits=limits, program=PROGRAM, started=STARTED)
    return [*command, python, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", launcher]


def _limits(timeout_s: float, memory_mb: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": memory_mb * 2**20,
        "RLIMIT_CPU": math.ceil(timeout_s) + 1,  # of all threads; the clock outside is the narrower one
        "RLIMIT_NPROC": 64,  # threads
        "RLIMIT_NOFILE": 64,
        "RLIMIT_FSIZE": TMP_MB * 2**20,
        "RLIMIT_CORE": 0,
    }


def _rules() -> bytes:
    if not sys.platform.startswith("linux"):
        raise RewardError(Problem("rewards.sandbox_system", seen=sys.platform))
    try:
        return seccomp.rules()
    except KeyError as error:
        known = ", ".join(seccomp.AUDIT_ARCH)
        raise RewardError(Problem("rewards.sandbox_machine", known=known, seen=str(error.args[0]))) from None


@contextlib.contextmanager
def _descriptor(data: bytes) -> Iterator[int]:
    """A file in memory with this content: the command line holds 128 KiB and everybody on the host can read it."""
    descriptor = os.memfd_create("sandbox")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _exchange(
    process: subprocess.Popen[bytes], data: bytes, deadline: float, output_bytes: int
) -> tuple[bytes, bytes, Reason]:
    """Feed stdin and collect stdout and stderr until the program ends or reaches a limit."""
    assert process.stdin and process.stdout and process.stderr
    output: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    # The launcher's byte is not the program's.
    room = {process.stdout: output_bytes + len(STARTED), process.stderr: output_bytes}
    reason: Reason | None = None
    left = memoryview(data)
    with selectors.DefaultSelector() as selector:
        for stream, event in ((process.stdin, "w"), (process.stdout, "r"), (process.stderr, "r")):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_WRITE if event == "w" else selectors.EVENT_READ)
        while reason is None and selector.get_map():
            for key, _ in selector.select(max(deadline - time.monotonic(), 0)):
                stream = key.fileobj  # type: ignore[assignment]
                if stream is process.stdin:
                    left = _feed(stream, left)
                    done = not left
                else:
                    chunk = os.read(stream.fileno(), CHUNK)
                    output[stream] += chunk
                    done = not chunk
                    if len(output[stream]) > room[stream]:
                        reason = "output"
                if done:
                    selector.unregister(stream)
                    stream.close()
            if reason is None and time.monotonic() >= deadline:
                reason = "timeout"
    stdout, stderr = (bytes(part[: room[stream]]) for stream, part in output.items())
    return stdout, stderr, reason or _end(process, deadline)


def _kill(process: subprocess.Popen[bytes], info: int) -> None:
    """End the program, so that bubblewrap collects it and ends; failing that bubblewrap, which takes it along."""
    with contextlib.suppress(ValueError, KeyError, ProcessLookupError):  # not told yet, or just ended
        os.kill(json.loads(os.pread(info, CHUNK, 0))["child-pid"], signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _feed(stream: IO[bytes], left: memoryview) -> memoryview:
    """Write what fits into the pipe; nothing is left for a program that has closed its end."""
    try:
        return left[os.write(stream.fileno(), left[:CHUNK]) :] if left else left
    except BrokenPipeError:
        return left[:0]


def _end(process: subprocess.Popen[bytes], deadline: float) -> Reason:
    """A program may close its output and go on."""
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return "timeout"
    return "exited"


def _trouble_in(stderr: str) -> Problem:
    """What bubblewrap, or the launcher, said when the program could not be started."""
    lines = stderr.strip().splitlines()
    if not lines:
        return Problem("rewards.sandbox_silent")
    said = lines[-1].removeprefix("bwrap: ")
    if "nknown option" in stderr:
        return Problem("rewards.sandbox_old", said=said)
    if "ermission denied" in stderr or "not permitted" in stderr or "namespace" in stderr:
        return Problem("rewards.sandbox_forbidden", said=said)
    return Problem("rewards.sandbox_broken", said=said)
