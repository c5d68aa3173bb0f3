"""Runs that learn as they should, with all the noise of real ones: no rule may cry wolf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.synthetic import Today, make_run, write
from trainer.report import material
from trainer.report.finding import Finding
from trainer.report.rules import diagnose


def bad(folder: Path, **options: Any) -> list[Finding]:
    found = diagnose(material.of(make_run(folder, **options).rundir))
    assert found
    return [finding for finding in found if finding.level == "red"]


@pytest.mark.parametrize("seed", range(30))
def test_no_healthy_run_is_called_wrong(tmp_path: Path, seed: int) -> None:
    """Of different lengths, with times that scatter, dips by chance, and evaluations of few rows."""
    random = np.random.default_rng(1000 + seed)
    steps = int(random.integers(60, 220))
    unlucky = set(random.choice(np.arange(1, steps), size=2, replace=False))

    def scatter(step: int, today: Today) -> None:
        today.token_s *= float(random.lognormal(0, 0.25))
        today.length *= float(random.lognormal(0, 0.08))
        today.skill -= 2.5 if step in unlucky else 0.0
        today.used_gib += 0.2 * float(random.normal())
        today.other_s = 6.0 if random.random() < 0.02 else 0.0

    right = [0.4 + 0.3 * share + 0.03 * float(random.normal()) for share in (0, 0.5, 1)]
    evals = list(zip((0, steps // 2, steps), right, strict=True))
    assert bad(tmp_path, seed=seed, steps=steps, change=scatter, evals=evals) == []


KINDS: dict[str, dict[str, Any]] = {
    "four completions": {"spec": {"generation": {"num_generations": 4, "max_completion_length": 512}}},
    "no reference": {"spec": {"grpo": {"beta": 0.0}}},
    "off-policy": {"spec": {"grpo": {"num_iterations": 2, "beta": 0.04}}},
    "one component": {"spec": {"reward": {"components": [{"function": "exact_match", "name": "correct"}]}}},
    "another card": {"gpu": "NVIDIA H100 80GB HBM3"},
    "an unknown card": {"gpu": "GeForce 256"},
    "on a CPU": {"gpu": None, "spec": {"model": {"name": "builtin/tiny-qwen3", "device": "cpu"}}},
    "small batch": {"spec": {"optim": {"per_device_train_batch_size": 8, "learning_rate": 1e-6}}},
    "no evaluation": {"evals": []},
    "few steps": {"steps": 12},
    "no rollouts": {"rollouts_every": 10_000},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_kind_of_run_is_called_wrong(tmp_path: Path, kind: str, seed: int) -> None:
    assert bad(tmp_path, seed=seed, **{"steps": 90} | KINDS[kind]) == []


def dead(step: int, today: Today) -> None:
    today.noise, today.skill = 0.0, -6.0  # all completions of a group are alike, and wrong


def leaking(step: int, today: Today) -> None:
    today.used_gib = 8 + 0.2 * step


def without_cache(step: int, today: Today) -> None:
    today.grows, today.token_s = 1.0, 2.0
    today.length *= 0.5 + (step % 10) / 10


@pytest.mark.parametrize(
    ("change", "signal", "level"),
    [
        (dead, "dead_groups", "red"),
        (leaking, "memory_creep", "amber"),  # it got to its end
        (without_cache, "lost_cache", "red"),
    ],
)
def test_a_sick_one_is(tmp_path: Path, change: Any, signal: str, level: str) -> None:
    found = diagnose(material.of(make_run(tmp_path, steps=70, change=change).rundir))
    assert level in [finding.level for finding in found if finding.signal == signal]


def test_a_run_that_leaks_is_wrong_while_the_end_is_ahead(tmp_path: Path) -> None:
    """24 GiB are full at step 80 of 200; it is at 70."""
    made = make_run(tmp_path, steps=200, change=leaking, end=None)
    last = next(place for place, event in enumerate(made.events) if event.get("step") == 71)
    write(made.rundir, made.events[:last])
    (found,) = (f for f in diagnose(material.of(made.rundir)) if f.signal == "memory_creep")
    assert (found.level, found.key) == ("red", "fills") and found.values["full_at"] == 80
