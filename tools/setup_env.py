"""Make .venv hold the pinned packages; do nothing, quickly, when it already does.

Called before every make target; `python tools/setup_env.py` does the same where there is no make.
`make setup` adds --again: compare every package with its pin even though nothing seems to have
changed, for packages that somebody exchanged by hand.

Runs on a bare Python, so it may import the standard library only, and an older Python must be able
to read it, to be told which one is needed.

.venv/.setup-done        written last: what was installed, as a hash of the pins and the Python
.venv/.setup-unfinished  there from the first change to the last: a set-up that was cut short may
                         have left half a package, so the next call starts from an empty folder

ONEGRPO_BACKEND=cpu or =gpu overrides the search for an NVIDIA driver (container images are built
without one).
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DONE = VENV / ".setup-done"
UNFINISHED = VENV / ".setup-unfinished"
CONSTRAINTS = ROOT / "constraints.txt"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

# torch has wheels for these.
OLDEST, NEWEST = (3, 11), (3, 14)
STILL_WORKING_S = 20


class SetupError(Exception):
    """The environment cannot be made; the text says what to do."""


def main() -> int:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return run_with_other_python()
    started = time.monotonic()
    done = read_done()
    backend = wanted_backend(done.get("backend"))
    again = "--again" in sys.argv[1:]
    if is_current(done, backend) and not again:
        return 0
    try:
        with only_one_at_a_time():
            done = read_done()
            # Another call may have finished the work while this one waited for the lock.
            if again or not is_current(done, backend):
                build(backend, done)
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next call starts .venv afresh", file=sys.stderr)
        return 130
    say(f".venv is ready ({backend}, {time.monotonic() - started:.0f} s)")
    return 0


# -- deciding ------------------------------------------------------------------------------------


def wanted_backend(stamped: Optional[str]) -> str:
    """'gpu' with an NVIDIA driver, else 'cpu'."""
    forced = os.environ.get("ONEGRPO_BACKEND", "")
    if forced in ("cpu", "gpu"):
        return forced
    # A driver that does not answer for a while must not cost the person a GPU environment:
    # it works without one too.
    return "gpu" if stamped == "gpu" or has_driver() else "cpu"


def has_driver() -> bool:
    if Path("/proc/driver/nvidia/version").exists():
        return True
    smi = shutil.which("nvidia-smi")  # the only sign under WSL and on Windows
    if smi is None:
        return False
    try:
        return subprocess.run([smi, "-L"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def project() -> Dict[str, Any]:
    import tomllib

    table: Dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def fingerprint(backend: str) -> str:
    """Changes when a pin changes or .venv's Python does; settings of ruff and mypy do not count."""
    table = project()
    pins = [table["dependencies"], table["optional-dependencies"], CONSTRAINTS.read_text("utf-8")]
    # The link's target names the version: after a system upgrade it points to another Python.
    parts = [*pins, os.path.realpath(PYTHON), sys.platform, backend]
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()


def read_done() -> Dict[str, str]:
    try:
        found = json.loads(DONE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_current(done: Dict[str, str], backend: str) -> bool:
    whole = PYTHON.exists() and not UNFINISHED.exists()
    return whole and done.get("fingerprint") == fingerprint(backend)


# -- building ------------------------------------------------------------------------------------


def build(backend: str, done: Dict[str, str]) -> None:
    # A CPU torch satisfies the pin, so pip would never exchange it for the CUDA build.
    other_backend = done.get("backend", backend) != backend
    if VENV.exists() and (UNFINISHED.exists() or other_backend or not venv_works()):
        say("starting .venv afresh: the one here is unfinished or for another machine")
        # The mark must be the last to go: a removal that is cut short has to be seen as well.
        for entry in [e for e in VENV.iterdir() if e != UNFINISHED]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    DONE.unlink(missing_ok=True)
    if not PYTHON.exists():
        create_venv()
    install(backend)
    DONE.write_text(json.dumps({"backend": backend, "fingerprint": fingerprint(backend)}), "utf-8")
    UNFINISHED.unlink()


def venv_works() -> bool:
    try:
        probe = subprocess.run([str(PYTHON), "-c", "import pip"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def create_venv() -> None:
    say(f"creating .venv with Python {version_text(sys.version_info[:2])}")
    if run([sys.executable, "-m", "venv", str(VENV)]):
        raise SetupError(
            f"`{sys.executable} -m venv` did not work; on Debian and Ubuntu type: apt install python3-venv"
        )


def install(backend: str) -> None:
    table = project()
    extras = table["optional-dependencies"]
    wanted = table["dependencies"] + extras["dev"] + extras["trackers"]
    if backend == "gpu":
        wanted += extras["gpu"]
    install_torch(backend, next(w for w in wanted if w.startswith("torch==")))
    say("installing the other packages")
    problem = pip(wanted)
    if problem:
        raise SetupError(f"pip could not install the packages:\n{problem}")
    problem = pip(extras["tasks"])
    if problem:  # one of its needs is built from C sources, and not every machine has a compiler
        say("without ready-made tasks (data.task), the rest works: pip could not install their packages:\n" + problem)


def install_torch(backend: str, pin: str) -> None:
    """Install the build of torch that fits; afterwards the pin is met and pip leaves it alone."""
    if backend == "gpu" and not WINDOWS:
        return  # The package index's own build for Linux is the CUDA build; it comes with the rest.
    if backend == "cpu" and not sys.platform.startswith("linux"):
        return  # For macOS and Windows the package index has a CPU build under the plain name.
    # The package index's build for Linux brings gigabytes of CUDA packages. Where pip was given a
    # source of CPU wheels, their version ends in "+cpu" and can be asked for by name.
    if backend == "cpu":
        say(f"{pin}, CPU build (about 200 MB to download when it is not there)")
        if not pip([pin + "+cpu"]):
            return
        say("pip's own sources have no CPU build of torch; asking uv")
    # uv knows where PyTorch keeps its builds, so no address has to stand in this repository.
    problem = pip(["uv"])
    if not problem:
        choice = "cpu" if backend == "cpu" else "auto"
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON)]
        # What torch needs is plain Python and comes with the rest, from pip's sources.
        uv += ["--no-deps", "--torch-backend", choice, pin]
        problem = run(uv)
    if problem:
        raise SetupError(f"no {backend} build of {pin} could be installed:\n{problem}")


def pip(requirements: List[str], constraints: Path = CONSTRAINTS) -> str:
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    return run([*command, "--constraint", str(constraints), *requirements])


def run(command: List[str]) -> str:
    """Run it; return '' when it went well, else the end of what it said, without the credentials in addresses."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while True:
        try:
            output, _ = process.communicate(timeout=STILL_WORKING_S)
            break
        except subprocess.TimeoutExpired:
            say(f"  still working, {time.monotonic() - started:.0f} s")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode == 0:
        return ""
    text = without_credentials(output.decode("utf-8", "replace")).strip()
    return "\n".join(text.splitlines()[-12:]) or f"exit status {process.returncode}"


def without_credentials(text: str) -> str:
    """pip and uv print the addresses they looked at: the host stays, somebody may have to open it in a firewall."""
    for pattern in (
        r"(://)[^\s/'\"<>]*@",  # up to the last @ before the path: a password may hold one
        r"(://)[^\s/@:]*:(?!\d+/)[^\s'\"<>]*@",  # or a slash
        r"((?<![\w:/.@-]))[\w.%+-]+:[^\s/@:]+@(?=\w)",  # a proxy is often written without http://
        r"(\?)[\w.-]+=[^\s'\"<>)]*",  # ?token=...
    ):
        text = re.sub(pattern, r"\1", text)
    return text


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Two calls at once (make train beside make test) must not build in the same folder."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# -- another Python ------------------------------------------------------------------------------


def run_with_other_python() -> int:
    """Hand over to a Python of a fitting version on the PATH, or say which are fitting."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        candidate = shutil.which(f"python3.{minor}")
        # pyenv puts a stand-in on the PATH for versions that are not switched on.
        if candidate and subprocess.call([candidate, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return subprocess.call([candidate, *sys.argv])
    here = sys.version.split()[0]
    fitting = f"{version_text(OLDEST)} to {version_text(NEWEST)}"
    print(
        f"set-up failed: Python {fitting} is needed, this is {here}. "
        "Install one and type: make setup PYTHON=python3.12",
        file=sys.stderr,
    )
    return 1


def version_text(version: Tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


def say(text: str) -> None:
    print("set-up: " + text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
