"""Acceptance on an offline GPU machine: random models, then every preset with every engine, each bounded in time.

    benchmarks/gpu/run.sh [OUT_DIR]       (sets the environment and calls this file)

Environment: PRESETS, ENGINES, DEVICE (cuda | cpu), SIZES (full | tiny), STEPS, BUDGET_S, WORK (models and runs).
A run that takes too long is ended and its finished steps are reported; what there is no time left for is named as not
run; a second call with other PRESETS or ENGINES takes the models that are there. One JSON a run goes to OUT_DIR. The
last line printed is one JSON object. Exit code 1 unless every run that was asked for finished.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from benchmarks.card import card
from benchmarks.gpu import collect, parts
from trainer import launch, presets
from trainer.errors import TrainerError
from trainer.machine import gpu
from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir

BUDGET_S = 570.0  # ten minutes, less what starting and fetching takes
MODELS_S = 200.0
GRACE_S = 20.0  # for the command to notice that its worker is gone


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / "benchmarks" / "results").absolute()
    work = Path(os.environ["WORK"]).absolute()
    setup = parts.Setup(work / "models", os.environ.get("DEVICE", "cuda"), os.environ.get("SIZES", "full"))
    names, engines = _words("PRESETS", parts.DEFAULT_PRESETS), _words("ENGINES", "unsloth transformers")
    deadline = time.monotonic() + float(os.environ.get("BUDGET_S", BUDGET_S))
    print(card("gpu acceptance", presets=" ".join(names), engines=" ".join(engines), device=setup.device), flush=True)
    usable, not_run = _usable(names, setup)
    usable_engines, left_out = [], []
    if "unsloth" not in engines:
        left_out.append("Unsloth was not run: ENGINES does not name it")
    elif setup.device == "cpu":
        engines.remove("unsloth")
        left_out.append("Unsloth was not run: it needs an NVIDIA GPU")
    for engine in engines:
        reason = _why_not(engine, setup)
        usable_engines += [] if reason else [engine]
        not_run += [f"{preset} {engine}: {reason}" for preset in usable] if reason else []
    if usable and usable_engines:
        _make_models(usable, setup, deadline)
    results = []
    for part in (parts.Part(preset, engine) for engine in usable_engines for preset in usable):
        result = _run(part, setup, work, deadline)
        if isinstance(result, str):
            not_run.append(f"{part.preset} {part.engine}: {result}")
        else:
            collect.write(result, out)
            results.append(result)
    return _report(results, not_run, left_out)


def _words(name: str, default: str) -> list[str]:
    return (os.environ.get(name) or default).split()


def _usable(names: list[str], setup: parts.Setup) -> tuple[list[str], list[str]]:
    """(presets that can be run, why the others cannot)."""
    usable, not_run = [], []
    for name in names:
        try:
            parts.config_of(presets.load(name), setup.size)
        except (TrainerError, parts.UnknownShape) as error:
            not_run.append(f"{name}: {collect.without_places(str(error))}")
        else:
            usable.append(name)
    return usable, not_run


def _why_not(engine: str, setup: parts.Setup) -> str:
    """Why this engine cannot run here; empty when it can."""
    if setup.device == "cuda" and gpu.chosen() is None:
        return "no NVIDIA GPU was found"
    if engine == "unsloth" and importlib.util.find_spec("unsloth") is None:
        return "Unsloth is not installed"
    return ""


def _make_models(names: list[str], setup: parts.Setup, deadline: float) -> None:
    print("models", flush=True)
    command = [sys.executable, str(Path(__file__).with_name("make_models.py")), *names]
    command += ["--out", str(setup.models), "--device", setup.device, "--size", setup.size]
    try:
        subprocess.run(command, cwd=PROJECT, timeout=min(MODELS_S, max(1.0, deadline - time.monotonic())), check=False)
    except subprocess.TimeoutExpired:
        print("making the models ran out of time; what is complete is used", flush=True)


def _run(part: parts.Part, setup: parts.Setup, work: Path, deadline: float) -> dict[str, Any] | str:
    """The result of a run, or why it was not begun."""
    left = deadline - time.monotonic() - GRACE_S
    if left < parts.CHECK_S:
        return "no time was left"
    if not (parts.model_folder(setup, part.preset) / "config.json").is_file():
        return "its model could not be made"
    rundir = RunDir(work / "outputs" / part.name)
    shutil.rmtree(rundir.path, ignore_errors=True)
    changes = parts.overrides(part, setup, int(os.environ.get("STEPS", "3")))
    command = [sys.executable, "app.py", "--headless", "--preset", part.preset, "--name", part.name]
    command += [word for change in changes for word in ("--set", change)]
    environment = os.environ | {"ONEGRPO_OUTPUTS": str(work / "outputs"), "ONEGRPO_STATE": str(work / "state")}
    output = work / f"{part.name}.txt"
    print(f"\n{part.preset} with {part.engine}", flush=True)
    started = time.monotonic()
    with output.open("wb") as sink:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        outcome = _wait(process, rundir, min(left, parts.cap_s(part)))
    tail = output.read_text(encoding="utf-8", errors="replace")[-collect.TAIL_CHARACTERS :]
    print(collect.without_places(tail[-1200:]), flush=True)
    result = collect.collect(
        rundir,
        preset=parts.label(part.preset),
        engine=part.engine,
        outcome=outcome,
        changed=changes,
        output_tail=tail,
    )
    return result | {"exit_code": process.returncode, "wall_s": round(time.monotonic() - started, 1)}


def _wait(process: subprocess.Popen[bytes], rundir: RunDir, seconds: float) -> str | None:
    """Wait for the command; "timeout" when its worker had to be ended."""
    try:
        process.wait(timeout=seconds)
        return None
    except subprocess.TimeoutExpired:
        pass
    if rundir.spec.is_file():
        launch.kill(rundir)
    try:
        process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return "timeout"


def _report(results: list[dict[str, Any]], not_run: list[str], left_out: list[str]) -> int:
    """Print table, reasons and the last line; the exit code. left_out was not wanted, not_run was."""
    print()
    if results:
        print(collect.table(results))
    for line in [*not_run, *left_out]:
        print(f"NOT RUN  {line}")
    for result in results:
        for problem in result.get("problems", []):
            print(f"{result['preset']} {result['engine']}: {problem['where']}: {problem['what']}"[:500])
    finished = bool(results) and not not_run and all(result["status"] == "finished" for result in results)
    last = {
        "benchmark": "gpu",
        "gpu": next((result["gpu"] for result in results if result["gpu"]), None),
        "results": [collect.short(result) for result in results],
        "not_run": not_run,
        "left_out": left_out,
    }
    print(json.dumps(last))
    return 0 if finished else 1


if __name__ == "__main__":
    sys.exit(main())
