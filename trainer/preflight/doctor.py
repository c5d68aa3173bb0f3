"""What this machine has and lacks for training, and what to type about it.

`python -m trainer doctor` prints it. It is for the moment when things do not work, so it reads
installed versions from their metadata and imports none of the packages it judges (psutil and
pynvml aside, inside functions); it shows whether a key is there, never the key.

May import the standard library, trainer.machine.gpu and trainer.rewards.sandbox.
"""

from __future__ import annotations

import errno
import importlib.metadata
import netrc
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from trainer.machine import gpu
from trainer.machine.project import PROJECT

State = Literal["ok", "warn", "missing"]


DISTRIBUTION = "onegrpo"

OLDEST_PYTHON = (3, 11)
# Below these a downloaded model or a visited page can harm this machine.
SECURITY_FLOORS = {
    "transformers": ("5.3", "CVE-2026-4372: a model's config runs code"),
    "torch": ("2.10", "CVE-2026-24747: a checkpoint corrupts memory even with weights_only"),
    "gradio": ("6.21", "open redirects and unsanitised text in the page"),
}
# The CUDA build of the pinned torch is made for CUDA 13, which began with this driver.
OLDEST_DRIVER = 580

# Rules of thumb: below them a large preset gets slow or stops, a small one does not notice.
RAM_GIB = 16
OUTPUTS_GIB = 10  # adapters with their optimizer state, a few checkpoints
HUB_GIB = 20  # a 27B model in 4 bits takes 16
CPUS = 2


@dataclass(frozen=True)
class DoctorFinding:
    """One thing looked at.

    state: 'ok'; 'warn', training works with a limit; 'missing', mend it before training.
    seen: what is there. todo: what to type or do; empty when ok.
    """

    name: str
    state: State
    seen: str
    todo: str = ""


def check(outputs: Path = Path("outputs"), pyproject: Path = PROJECT / "pyproject.toml") -> list[DoctorFinding]:
    """Look at everything; takes a fraction of a second and changes nothing that stays."""
    gpus = gpu.list_gpus()
    pins = read_pins(pyproject)
    installed = installed_versions(pin for group in pins.values() for pin in group)
    return [
        check_python(),
        *check_packages(pins, installed, with_gpu=bool(gpus)),
        *check_security_floors(installed),
        *check_gpus(gpus, installed.get("torch")),
        check_ram(),
        check_cpus(),
        check_disk("disk for outputs", outputs, OUTPUTS_GIB),
        check_disk("disk for models", hub_folder(os.environ), HUB_GIB),
        check_writable(outputs),
        check_wandb_key(os.environ),
        check_hub_token(os.environ),
        check_bubblewrap(),
        check_chromium(os.environ),
    ]


def render(findings: Iterable[DoctorFinding], file: TextIO) -> None:
    """One line a finding, what to do below it, a count at the end."""
    rows = list(findings)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        print(f"{row.state:<7}  {row.name:<{width}}  {row.seen}", file=file)
        if row.todo:
            print(f"{'':<7}  {'':<{width}}  -> {row.todo}", file=file)
    count = Counter(row.state for row in rows)
    print(f"{count['ok']} ok, {count['warn']} warn, {count['missing']} missing", file=file)


# -- Python and packages -------------------------------------------------------------------------


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> DoctorFinding:
    seen = ".".join(map(str, version))
    if version[:2] >= OLDEST_PYTHON:
        return DoctorFinding("Python", "ok", seen)
    return DoctorFinding("Python", "missing", f"{seen}, 3.11 is needed", "make setup PYTHON=python3.12")


def read_pins(pyproject: Path) -> dict[str, dict[str, str]]:
    """{'base' | extra: {package: pinned version}} from pyproject.toml, or as it was installed."""
    try:
        table = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        groups = {"base": table["dependencies"], **table.get("optional-dependencies", {})}
    except FileNotFoundError:
        groups = _installed_requirements()
    return {group: dict(_name_and_pin(line) for line in lines) for group, lines in groups.items()}


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are there; a half-installed package counts as not there."""
    found = {}
    for name in names:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if version:
            found[name] = version
    return found


def check_packages(
    pins: Mapping[str, Mapping[str, str]], installed: Mapping[str, str], *, with_gpu: bool
) -> Iterator[DoctorFinding]:
    """One finding a pinned package; the GPU set only where there is a GPU."""
    for group, packages in pins.items():
        if group == "gpu" and not with_gpu:
            continue
        for name, pin in packages.items():
            yield _check_package(name, pin, installed.get(name), group)


def check_security_floors(installed: Mapping[str, str]) -> Iterator[DoctorFinding]:
    for name, (floor, reason) in SECURITY_FLOORS.items():
        version = installed.get(name)
        if version is None:
            continue  # reported as missing already
        title = f"{name} security floor"
        if _numbers(version) >= _numbers(floor):
            yield DoctorFinding(title, "ok", f"{version} >= {floor}")
        else:
            yield DoctorFinding(title, "missing", f"{version} < {floor}; {reason}", "make setup")


def _check_package(name: str, pin: str, version: str | None, group: str) -> DoctorFinding:
    # Without the development tools training works all the same.
    absent: State = "warn" if group == "dev" else "missing"
    purpose = {"base": "", "dev": " (tests only)"}.get(group, f" (extra {group})")
    if version is None:
        return DoctorFinding(name, absent, f"not installed{purpose}", "make setup")
    # "2.13.0+cpu" is a build of 2.13.0.
    if not pin or version.split("+")[0] == pin:
        return DoctorFinding(name, "ok", version)
    seen = f"{version}; {pin} is the tested one{purpose}"
    return DoctorFinding(name, "warn", seen, f'make setup   (or: python -m pip install "{name}=={pin}")')


def _installed_requirements() -> dict[str, list[str]]:
    """The pins of an installed distribution, whose pyproject.toml is not at hand."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    groups: dict[str, list[str]] = {}
    for line in lines:
        extra = re.search(r"""extra == ["']([^"']+)["']""", line)
        groups.setdefault(extra[1] if extra else "base", []).append(line)
    return groups


def _name_and_pin(requirement: str) -> tuple[str, str]:
    """('torch', '2.13.0') of 'torch==2.13.0 ; marker'; the pin is '' when there is none."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*(?:==\s*([^\s;,]+))?", requirement)
    return (match[1], match[2] or "") if match else (requirement, "")


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 13, 0) of '2.13.0+cpu': enough to compare with a floor of two numbers."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


# -- the machine ---------------------------------------------------------------------------------


def check_gpus(gpus: list[gpu.GPU], torch_version: str | None) -> Iterator[DoctorFinding]:
    """The driver, one finding a GPU, and whether the installed torch can use them."""
    if not gpus:
        yield _no_gpu()
        return
    driver = gpus[0].driver_version
    if _numbers(driver)[:1] >= (OLDEST_DRIVER,):
        yield DoctorFinding("NVIDIA driver", "ok", driver)
    else:
        seen = f"{driver}; the CUDA 13 build of torch needs {OLDEST_DRIVER} or newer"
        yield DoctorFinding("NVIDIA driver", "warn", seen, "install a newer NVIDIA driver and restart")
    for one in gpus:
        seen = f"{one.name}, {one.free_gib:.1f} of {one.total_gib:.1f} GiB free"
        yield DoctorFinding(f"GPU {one.index}", "ok", seen)
    if torch_version is not None and torch_version.endswith("+cpu"):
        seen = f"{torch_version} cannot use the GPU"
        yield DoctorFinding("torch build", "missing", seen, "delete .venv, then: make setup")


def _no_gpu() -> DoctorFinding:
    loaded = Path("/proc/driver/nvidia/version").exists()
    if loaded or shutil.which("nvidia-smi"):
        seen = "there, but it does not answer"
        return DoctorFinding("NVIDIA driver", "warn", seen, "type nvidia-smi; often a restart is needed")
    seen = "none: only presets for the CPU will run"
    return DoctorFinding("NVIDIA driver", "warn", seen, "with an NVIDIA GPU: install its driver")


def check_ram() -> DoctorFinding:
    try:
        import psutil
    except ImportError:
        return DoctorFinding("RAM", "warn", "not known without psutil", "make setup")
    memory = psutil.virtual_memory()
    total_gib, free_gib = memory.total / gpu.GIB, memory.available / gpu.GIB
    seen = f"{free_gib:.1f} of {total_gib:.1f} GiB free"
    # A machine sold as 16 GB reports a little less.
    if total_gib >= RAM_GIB * 0.9:
        return DoctorFinding("RAM", "ok", seen)
    todo = "choose a preset with a small model; a swap file helps while one is loaded"
    return DoctorFinding("RAM", "warn", f"{seen}; large models want {RAM_GIB}", todo)


def check_cpus() -> DoctorFinding:
    # In a container the process may use fewer than the machine has; macOS and Windows cannot say.
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if mine >= CPUS:
        return DoctorFinding("CPUs", "ok", str(mine))
    todo = f"give the container or machine {CPUS} CPUs; rewards compete with training for one"
    return DoctorFinding("CPUs", "warn", str(mine), todo)


def check_disk(name: str, folder: Path, wanted_gib: int) -> DoctorFinding:
    """Free space where `folder` is, or will be."""
    free_gib = shutil.disk_usage(_existing(folder)).free / gpu.GIB
    seen = f"{free_gib:.0f} GiB free for {folder}"
    if free_gib >= wanted_gib:
        return DoctorFinding(name, "ok", seen)
    todo = f"free {wanted_gib - free_gib:.0f} GiB; `du -sh {folder}/*` shows what takes the space"
    return DoctorFinding(name, "warn", f"{seen}; {wanted_gib} wanted", todo)


def check_writable(outputs: Path) -> DoctorFinding:
    place = _existing(outputs)
    try:
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        # Permission bits do not tell (root, read-only mounts, full disks): write and see.
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
            probe.write(b"x")
    except OSError as error:
        seen = f"{place} cannot be written: {error.strerror}"
        todo = f'make it yours (chown -R "$USER" {place}), or choose another outputs folder'
        return DoctorFinding("outputs writable", "missing", seen, todo)
    return DoctorFinding("outputs writable", "ok", str(outputs))


def hub_folder(env: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps downloads, by its own rules, without importing it."""
    if env.get("HF_HUB_CACHE"):
        return Path(env["HF_HUB_CACHE"]).expanduser()
    return _hub_home(env) / "hub"


def _hub_home(env: Mapping[str, str]) -> Path:
    if env.get("HF_HOME"):
        return Path(env["HF_HOME"]).expanduser()
    return Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


# -- keys and programs ---------------------------------------------------------------------------


def check_wandb_key(env: Mapping[str, str]) -> DoctorFinding:
    if env.get("WANDB_API_KEY"):
        return DoctorFinding("W&B key", "ok", "in WANDB_API_KEY")
    path = Path(env.get("NETRC") or "~/.netrc").expanduser()
    try:
        hosts = netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        hosts = {}
    # `wandb login` of 0.31 writes the second: its server's new name.
    if any("wandb" in host or "coreweave" in host for host in hosts):
        return DoctorFinding("W&B key", "ok", f"in {path}")
    seen = "none: runs are recorded in outputs/ only"
    return DoctorFinding("W&B key", "warn", seen, "for W&B: .venv/bin/wandb login")


def check_hub_token(env: Mapping[str, str]) -> DoctorFinding:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if env.get(name):
            return DoctorFinding("Hugging Face token", "ok", f"in {name}")
    path = Path(env.get("HF_TOKEN_PATH") or _hub_home(env) / "token").expanduser()
    if path.is_file() and path.stat().st_size:
        return DoctorFinding("Hugging Face token", "ok", f"in {path}")
    seen = "none: models behind a licence cannot be fetched"
    return DoctorFinding("Hugging Face token", "warn", seen, "for those: .venv/bin/hf auth login")


def check_bubblewrap() -> DoctorFinding:
    """By a trial run: that the program is there does not say that the kernel lets it work."""
    from trainer.rewards import sandbox

    problem = sandbox.trouble()
    if problem is None:
        return DoctorFinding("bubblewrap", "ok", "a trial run worked")
    seen = f"the code reward has no sandbox: {problem.what}"
    return DoctorFinding("bubblewrap", "warn", seen, f"for that reward: {problem.fix}")


def check_chromium(env: Mapping[str, str]) -> DoctorFinding:
    programs = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, programs)), None)
    downloads = Path(env.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright").expanduser()
    found = found or next((str(place) for place in sorted(downloads.glob("chromium*"))), None)
    if found:
        return DoctorFinding("chromium", "ok", found)
    seen = "none: only the browser tests need it"
    return DoctorFinding("chromium", "warn", seen, "for those tests: apt install chromium")
