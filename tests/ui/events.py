"""Builds what a worker would have written: events(...) for make_run, or a whole finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.run.rundir import RunDir
from trainer.spec import Component, Data, Model, Reward, RunSpec

Event = dict[str, Any]


def step(number: int, reward: float = 0.5, dead: float = 0.25, of: int = 40) -> Event:
    groups = {
        "dead_frac": dead,
        "all_right_frac": dead / 2,
        "all_wrong_frac": dead / 2,
        "group_std": 0.3,
    }
    common = {"kind": "step", "step": number, "of": of, "seconds": 2.0, "tokens": 100 * number}
    return common | {"metrics": {"train/reward": reward}, "groups": groups}


def began(attempt: int = 1) -> Event:
    return {"kind": "run_started", "attempt": attempt, "resumed_from_step": 0}


def checkpoint(number: int) -> Event:
    return {
        "kind": "checkpoint",
        "step": number,
        "name": f"checkpoint-{number}",
        "verified": True,
    }


def finished(steps: int = 40) -> list[Event]:
    """A run from its first to its last event."""
    share = {"rows": 128, "reward": 0.5}
    return [
        began(),
        {"kind": "eval", "at": "before", "step": 0, "correct_frac": 0.25, **share},
        *(step(n, n / steps, of=steps) for n in range(1, steps + 1)),
        checkpoint(steps),
        {"kind": "eval", "at": "after", "step": steps, "correct_frac": 0.75, **share},
        {"kind": "run_finished", "step": steps, "seconds": 90.0, "peak_memory_gib": 0.5},
    ]


def write_run(outputs: Path, name: str, events: list[Event], title: str = "A small one") -> RunDir:
    spec = RunSpec(
        title=title,
        model=Model(name="builtin/tiny-qwen3"),
        data=Data(path="rows.jsonl"),
        reward=Reward(components=[Component(function="exact_match")]),
    )
    plan: Any = {"optimizer_steps": 40}
    rundir = RunDir.create(outputs, name, spec, plan, {})
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | e) for n, e in enumerate(events)]
    rundir.events.write_text("".join(f"{line}\n" for line in lines))
    return rundir
