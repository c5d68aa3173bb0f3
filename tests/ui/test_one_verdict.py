"""Live, Health and the report say the same of a run: one verdict, one share of groups that taught nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.synthetic import Today
from tests.report.synthetic import make_run as synthetic
from trainer.report import material, sections
from trainer.report.document import Text
from trainer.run.rundir import RunDir
from trainer.show.markup import escape
from trainer.text import words
from trainer.ui.diagnoses import diagnosis
from trainer.ui.health import views as health
from trainer.ui.known_runs import Seen
from trainer.ui.live import views as live

KINDS: dict[str, Callable[[int, Today], None]] = {
    "healthy": lambda step, today: None,
    "paid alike": lambda step, today: setattr(today, "noise", 0.0),
    "solved at the end": lambda step, today: setattr(today, "skill", 8.0 if step > 40 else today.skill),
    "hopeless at first": lambda step, today: setattr(today, "skill", -9.0 if step < 50 else 0.0),
    "falls": lambda step, today: setattr(today, "skill", 1.5 - step / 20),
    "cut": lambda step, today: setattr(today, "length", 900.0),
}


def said_of(rundir: RunDir, language: str) -> tuple[str, str, str, list[str]]:
    """The verdict on Live, on Health and in the report, and what Live says below it."""
    m, say = material.of(rundir), words(language)
    found = diagnosis(m)
    on_live = live.told(Seen(rundir, m.spec, m.state, m.status, m.steps_total), found, say)
    first = 1 if m.status in ("failed", "lost") else 0
    on_health = health.top(found, say)
    lead = next(
        block.text
        for section in sections.build(m, language).sections
        for block in section.blocks
        if isinstance(block, Text) and block.kind == "lead"
    )
    return on_live[first], on_health, lead, on_live


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_verdict_is_the_same_on_live_on_health_and_in_the_report(tmp_path: Path, kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    steps = int(random.choice([6, 30, 70]))
    last = float(random.choice([0.3, 0.42, 0.8]))
    options: dict[str, Any] = {"evals": [(0, 0.4), (steps // 2, 0.5), (steps, last)] if seed == 1 else []}
    end = str(random.choice(["run_finished", "run_failed", "run_stopped"]))
    made = synthetic(tmp_path, steps=steps, seed=seed, change=KINDS[kind], end=end, rollouts_every=steps, **options)
    for language in ("en", "ko"):
        on_live, on_health, lead, _ = said_of(made.rundir, language)
        assert on_live == lead
        assert f'<p class="g-lead">{escape(lead)}</p>' in on_health


def test_the_share_of_dead_groups_is_one_number_of_one_window_and_the_window_is_said(tmp_path: Path) -> None:
    made = synthetic(tmp_path, steps=100, change=KINDS["solved at the end"], rollouts_every=100)
    m = material.of(made.rundir)
    points = m.group_points("dead_frac")
    share = round(100 * sum(value for _, value in points[-20:]) / 20)
    assert share != round(100 * sum(value for _, value in points) / len(points))
    said = f"In the last 20 steps {share} % of the groups taught nothing"
    assert any(text.startswith(said) for text in said_of(made.rundir, "en")[3])
    (row,) = (row for row in health.rows(diagnosis(m), words("en")) if row.signal == "dead_groups")
    assert row.now == f"{share} %, the last 20 steps" and row.said[0].startswith(said)
    report = " ".join(str(block) for section in sections.build(m, "en").sections for block in section.blocks)
    assert said in report and report.count("of the groups taught nothing") == report.count(said)
