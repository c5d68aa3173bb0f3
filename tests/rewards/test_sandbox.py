"""Programs that try to get out, to stay, or to eat the machine, in the real sandbox."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trainer.errors import RewardError
from trainer.rewards import sandbox, seccomp
from trainer.rewards.sandbox import Result

PROJECT = Path(__file__).resolve().parents[2]
no_sandbox = sandbox.available()
runs_programs = pytest.mark.skipif(no_sandbox is not None, reason=no_sandbox or "")
GIB = 2**30


def run(
    code: str, stdin: str = "", timeout_s: float = 10.0, memory_mb: int = 128, output_bytes: int = 10_000
) -> Result:
    return sandbox.run(code, stdin=stdin, timeout_s=timeout_s, memory_mb=memory_mb, output_bytes=output_bytes)


def those_with(marker: str) -> list[int]:
    """Processes of this machine whose command line holds the marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if marker in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def eventually(holds: Callable[[], bool], within_s: float = 3.0) -> bool:
    end = time.monotonic() + within_s
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


# -- what a program gets back --------------------------------------------------------------------


@runs_programs
def test_a_program_reads_its_input_and_prints() -> None:
    result = run("import sys\nprint(input()[::-1])\nprint('aside', file=sys.stderr)", "hello\n나무\n")
    assert (result.ok, result.exit_code, result.reason) == (True, 0, "exited")
    assert (result.stdout, result.stderr) == ("olleh\n", "aside\n")
    assert 0 < result.seconds < 10


@runs_programs
@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("raise ValueError('no')", 1, "ValueError: no"),
        ("import sys; sys.exit(3)", 3, ""),
        ("def (", 1, "SyntaxError"),
        ("import ctypes; ctypes.string_at(0)", 139, ""),
        ("a\0b", 1, "null bytes"),
    ],
)
def test_a_program_that_fails_is_a_result(code: str, exit_code: int, said: str) -> None:
    result = run(code)
    assert (result.ok, result.exit_code, result.reason) == (False, exit_code, "exited")
    assert said in result.stderr


@runs_programs
def test_it_is_main_with_the_standard_library_and_nothing_else() -> None:
    result = run(
        "import asyncio, ctypes, dataclasses, decimal, json, pickle, sqlite3, sys, threading\n"
        "@dataclasses.dataclass\nclass A:\n    x: int = 1\n"
        "pickle.loads(pickle.dumps(A()))\n"
        "threads = [threading.Thread(target=int) for _ in range(8)]\n"
        "[t.start() for t in threads]\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "try:\n    import pip\nexcept ImportError:\n    print(__name__, sys.argv, [p for p in sys.path if 'site' in p])"
    )
    assert (result.stdout, result.stderr) == ("__main__ ['/program.py'] []\n", "")


@runs_programs
def test_sets_have_the_same_order_in_every_run() -> None:
    code = "print({'a', 'b', 'c', 'd', 'e', 'f'})"
    assert run(code).stdout == run(code).stdout


@runs_programs
def test_large_input_and_large_programs_pass_through() -> None:
    text = "x" * 3_000_000
    assert run("import sys; print(len(sys.stdin.read()))", text).stdout == "3000000\n"
    assert run("pass", text).ok
    assert run(f"print(len('{text[:500_000]}'))").stdout == "500000\n"


# -- what it must not see ------------------------------------------------------------------------


@runs_programs
def test_the_hosts_files_are_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    hidden = ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/root", "/sys", "/bin/sh", "/usr/bin/env"]
    hidden += [str(secret), str(Path.home() / ".netrc"), str(PROJECT), sys.prefix, "/var", "/run", "/home", "/mnt"]
    result = run(f"import os\nprint([p for p in {hidden!r} if os.path.lexists(p)])\nprint(sorted(os.listdir('/tmp')))")
    assert result.stdout == "[]\n[]\n"


@runs_programs
def test_links_and_dots_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    code = (
        "import os\n"
        f"secret = '{tmp_path}/secret'\n"
        "for n, target in enumerate([secret, '../../../../../..' + secret, '/proc/1/root/etc/passwd']):\n"
        "    os.symlink(target, f'link{n}')\n"
        "    for path in (f'link{n}', target):\n"
        "        try: print(open(path).read())\n"
        "        except OSError as error: print(type(error).__name__)\n"
        "os.chdir('/'); os.chdir('..'); print(os.getcwd())"
    )
    assert run(code).stdout == "FileNotFoundError\n" * 6 + "/\n"


@runs_programs
def test_the_environment_and_open_files_of_the_host_stay_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary")
    code = (
        "import os\nprint(sorted(os.environ))\n"
        "for n in range(3, 64):\n    try: os.fstat(n); print('open', n)\n    except OSError: pass"
    )
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert run(code).stdout == "['LC_CTYPE', 'PWD', 'PYTHONHASHSEED']\n"


@runs_programs
def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        addresses = [server.getsockname(), ("169.254.169.254", 80)]
        code = (
            "import socket, urllib.request\n"
            f"for address in {addresses!r}:\n"
            "    try: print(socket.create_connection(address, 1))\n"
            "    except OSError as error: print('no')\n"
            "try: socket.socket(40, socket.SOCK_STREAM)\n"
            "except OSError as error: print('no')\n"
        )
        assert run(code).stdout == "no\n" * 3
        with pytest.raises(TimeoutError):
            server.accept()


# -- what it must not do to the machine ----------------------------------------------------------


@runs_programs
@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass\n",
        "import subprocess, sys; subprocess.Popen([sys.executable])",
        "import os, sys; os.posix_spawn(sys.executable, ['x'], {})",
        "import multiprocessing; multiprocessing.get_context('fork').Process(target=print).start()",
    ],
    ids=["fork bomb", "daemon", "subprocess", "posix_spawn", "multiprocessing"],
)
def test_there_is_no_second_process(code: str) -> None:
    result = run(code)
    assert (result.ok, result.reason) == (False, "exited")
    assert "Operation not permitted" in result.stderr


@runs_programs
def test_a_program_that_names_itself_anew_ends_with_the_sandbox() -> None:
    marker = uuid.uuid4().hex
    code = f"import os, sys; os.execv(sys.executable, ['x', '-c', 'while True: pass', '{marker}'])"
    seen: list[bool] = []
    watcher = threading.Thread(target=lambda: seen.append(eventually(lambda: those_with(marker) != [])))
    watcher.start()
    assert run(code, timeout_s=2).reason == "timeout"
    watcher.join()
    # Had it never been seen, its absence would prove nothing.
    assert seen == [True]
    assert eventually(lambda: those_with(marker) == [])


@runs_programs
def test_it_leaves_no_zombie_to_the_init_of_a_container() -> None:
    """In a process that inherits what its descendants leave behind, as the init of a container does, and reaps none."""
    code = """
import ctypes, os, time
from trainer.rewards import sandbox
assert ctypes.CDLL(None).prctl(36, 1) == 0  # PR_SET_CHILD_SUBREAPER
for _ in range(3):
    sandbox.run("print(1)", timeout_s=20, memory_mb=256, output_bytes=100)
sandbox.run("while True: pass", timeout_s=0.5, memory_mb=256, output_bytes=100)
sandbox.run("while True: print(1)", timeout_s=20, memory_mb=256, output_bytes=10)
time.sleep(0.3)
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("none")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("none\n", "")


@runs_programs
def test_it_ends_with_the_process_that_started_it() -> None:
    marker = uuid.uuid4().hex
    inner = f"import os, sys; os.execv(sys.executable, ['x', '-c', 'while True: pass', '{marker}'])"
    outer = f"from trainer.rewards import sandbox\nsandbox.run({inner!r}, timeout_s=60, memory_mb=128, output_bytes=10)"
    parent = psutil.Popen(
        [sys.executable, "-c", outer.replace(marker, marker[:16] + "' + '" + marker[16:])], cwd=PROJECT
    )
    try:
        assert eventually(lambda: those_with(marker) != [], within_s=20)
    finally:
        parent.kill()
        parent.wait()
    assert eventually(lambda: those_with(marker) == [])


@runs_programs
@pytest.mark.parametrize(
    "code",
    ["x = 'a' * 10**10", "x = [bytearray(2**20) for _ in range(10_000)]", "import mmap; mmap.mmap(-1, 10**10)"],
)
def test_memory_is_bounded(code: str) -> None:
    begin = psutil.virtual_memory().available
    result = run(code)
    assert (result.ok, result.reason) == (False, "exited")
    assert "MemoryError" in result.stderr or "Cannot allocate memory" in result.stderr
    assert psutil.virtual_memory().available > begin - 2 * GIB


@runs_programs
def test_memory_that_no_address_space_shows_can_not_be_had() -> None:
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "calls = {'memfd_create': (b'x', 0), 'shmget': (0, 4096, 0o1600), 'msgget': (0, 0o1600)}\n"
        "for name, args in calls.items(): print(name, getattr(libc, name)(*args), ctypes.get_errno())"
    )
    assert run(code).stdout == "memfd_create -1 1\nshmget -1 1\nmsgget -1 1\n"


@runs_programs
def test_files_are_bounded_wherever_they_are_written() -> None:
    code = (
        "import os\n"
        "written = 0\n"
        "for folder in ('/tmp', '/', '/dev', '/dev/shm', '/usr/lib', '/etc', '/root', '/var/tmp'):\n"
        "    for n in range(100):\n"
        "        try:\n"
        "            with open(f'{folder}/f{n}', 'wb', 0) as file:\n"
        "                while True: written += file.write(bytes(2**20))\n"
        "        except OSError: pass\n"
        "print(written)"
    )
    result = run(code, timeout_s=20)
    assert 2**20 <= int(result.stdout) <= sandbox.TMP_MB * 2**20


@runs_programs
def test_the_hosts_devices_keep_their_mode() -> None:
    before = [(os.stat(path).st_mode, os.stat(path).st_uid) for path in sandbox.DEVICES]
    code = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def fd(path):\n    return os.open(path, os.O_RDWR)\n"
        f"for path in {sandbox.DEVICES!r}:\n"
        "    for attempt in (lambda: os.chmod(path, 0), lambda: os.fchmod(fd(path), 0), lambda: os.unlink(path),\n"
        "        lambda: os.setxattr(path, 'system.posix_acl_access', b'x'),\n"
        "        lambda: os.chmod(os.path.basename(path), 0, dir_fd=os.open('/dev', os.O_RDONLY))):\n"
        "        try: attempt(); print('done', path)\n"
        "        except OSError: print('no')\n"
        "print(open('/dev/null', 'w').write('x'), len(open('/dev/urandom', 'rb').read(3)))"
    )
    assert run(code).stdout == "no\n" * 20 + "1 3\n"
    assert [(os.stat(path).st_mode, os.stat(path).st_uid) for path in sandbox.DEVICES] == before


@runs_programs
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "from signal import *\nfor n in set(range(1, 32)) - {9, 19}: signal(n, SIG_IGN)\nwhile True: pass",
        "import os\nos.close(0); os.close(1); os.close(2)\nwhile True: pass",
    ],
    ids=["loop", "sleep", "ignores signals", "closes its output"],
)
def test_a_program_that_does_not_end_is_ended(code: str) -> None:
    result = run(code, timeout_s=0.7)
    assert (result.ok, result.exit_code, result.reason) == (False, None, "timeout")
    assert result.seconds < 3


@runs_programs
def test_what_was_printed_before_the_time_ran_out_is_kept() -> None:
    assert run("print('first', flush=True)\nwhile True: pass", timeout_s=1.5).stdout == "first\n"


@runs_programs
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_is_stopped_at_its_limit(stream: str) -> None:
    result = run(f"import sys\nwhile True: sys.{stream}.write('x' * 10**6)", output_bytes=5000)
    assert (result.ok, result.exit_code, result.reason) == (False, None, "output")
    assert getattr(result, stream) == "x" * 5000


@runs_programs
def test_output_of_exactly_the_limit_is_no_flood() -> None:
    result = run("print('x' * 4999)", output_bytes=5000)
    assert (result.ok, len(result.stdout)) == (True, 5000)


@runs_programs
def test_killing_the_parent_or_everybody_reaches_nobody_outside() -> None:
    code = (
        "import os\n"
        "for pid in (os.getppid(), 1, -1):\n"
        "    try: os.kill(pid, 9)\n"
        "    except OSError as error: print(type(error).__name__)\n"
        "print('end')"
    )
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as neighbour:
        result = run(code)
        assert neighbour.poll() is None
        neighbour.communicate(b"\n")
    assert result.stdout.endswith("end\n")
    assert os.getppid() > 0


@runs_programs
@pytest.mark.parametrize(
    "call",
    ["unshare(0x10000000)", "ptrace(0, 0, 0, 0)", "syscall(435, 0, 0)", "mount(b'x', b'/tmp', b'tmpfs', 0, 0)"],
)
def test_calls_that_would_make_it_root_again_fail(call: str) -> None:
    code = f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.{call}, ctypes.get_errno())"
    assert run(code).stdout in ("-1 1\n", "-1 38\n")


@runs_programs
@pytest.mark.skipif("x86_64" not in os.uname().machine, reason="calls of other numbers exist on x86_64 only")
def test_calls_under_other_numbers_end_the_program() -> None:
    result = run("import ctypes; ctypes.CDLL(None).syscall(0x40000000 | 39)")
    assert (result.exit_code, result.reason) == (128 + 31, "exited")  # SIGSYS


@runs_programs
def test_many_at_once_do_not_disturb_each_other() -> None:
    results: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: results.__setitem__(n, run(f"print({n})").stdout)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"{n}\n" for n in range(8)}


# -- where there is none -------------------------------------------------------------------------


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_works", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RewardError, match="bubblewrap is not installed  ->  apt install bubblewrap"):
        run(f"open('{tmp_path}/ran', 'w')")
    assert sandbox.available() == "sandbox: bubblewrap is not installed  ->  apt install bubblewrap"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("says", "fix"),
    [
        ("bwrap: setting up uid map: Permission denied", "allow user namespaces"),
        ("bwrap: No permissions to create new namespace, likely because the kernel does not allow it", "allow user"),
        ("bwrap: Unknown option --size", "install bubblewrap 0.6 or newer"),
        ("bwrap: Can't find source path /x: No such file", "type: bwrap"),
        ("", "type: bwrap"),
    ],
)
def test_a_bubblewrap_that_can_not_start_a_program_is_no_result(
    says: str, fix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RewardError) as raised:
        run("print(1)")
    [problem] = raised.value.problems
    assert says.removeprefix("bwrap: ") in problem.what
    assert fix in problem.fix


def test_on_another_system_or_processor_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(RewardError, match="there is none on darwin  ->  use Linux or WSL"):
        run("print(1)")
    with pytest.raises(KeyError):
        seccomp.rules("riscv64")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_an_array_of_instructions_that_ends_by_allowing(machine: str) -> None:
    rules = seccomp.rules(machine)
    assert len(rules) % 8 == 0
    assert int.from_bytes(rules[-4:], "little") == seccomp.ALLOW
    refused = {step[4:8] for step in (rules[n : n + 8] for n in range(0, len(rules), 8)) if step[0] == seccomp.EQUAL}
    wanted = {numbers[machine] for numbers in seccomp.REFUSED.values() if machine in numbers}
    assert {number.to_bytes(4, "little") for number in wanted} <= refused
