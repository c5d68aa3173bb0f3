"""The published reference run, exported as W&B does and imported, holds exactly the published values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import reference_run as published
from trainer.run.state import RunState, state_of
from trainer.wandb_import.bring import bring


def imported(path: Path, **how: bool) -> RunState:
    file = published.write_csv(path / "reference.csv", **how)
    return state_of(bring([file], preset=published.PRESET, name="reference").rundir)


def test_the_imported_run_has_the_published_values_at_the_named_steps(tmp_path: Path) -> None:
    state = imported(tmp_path)
    assert state.steps == list(range(1, published.STEPS + 1))
    for metric, values in published.PUBLISHED.items():
        for step, value in values.items():
            assert state.metrics[metric][step - 1] == value, (metric, step)
    named = published.PUBLISHED["train/reward"]
    rest = [value for step, value in zip(state.steps, state.metrics["train/reward"], strict=True) if step not in named]
    assert set(rest) == {published.REWARD}
    assert state.tokens_at[75] == 260_447
    assert state.metrics["train/rewards/ComponentRewardWrapper/mean"] == state.metrics["train/reward"]


def test_generation_stays_in_the_published_range_but_for_the_two_named_steps(tmp_path: Path) -> None:
    seconds = imported(tmp_path).metrics[published.GENERATE]
    low, high = published.GENERATE_S
    others = [value for step, value in enumerate(seconds, start=1) if step not in (25, 80) and value is not None]
    assert len(others) == published.STEPS - 2
    assert (min(others), max(others)) == (low, high)
    assert (seconds[24], seconds[79]) == (0.4, 2_200.0)


def test_a_step_takes_what_was_profiled_in_it_and_its_update(tmp_path: Path) -> None:
    state = imported(tmp_path)
    prepared = state.metrics[f"{published.PROFILED}_prepare_inputs"]
    assert prepared[79] == 2_203.0  # four calls, summed
    assert state.seconds[0] is None  # when the first step began is not in a history
    assert state.seconds[79] == pytest.approx(2_203.0 + published.UPDATE_S)


def test_w_and_b_may_fill_in_the_step_before_or_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    filled = imported(tmp_path / "a")
    bare = published.write_csv(tmp_path / "bare.csv", synced=False)
    assert state_of(bring([bare], name="bare").rundir).metrics == filled.metrics


def test_a_run_that_differs_differs_where_it_was_asked_to(tmp_path: Path) -> None:
    state = imported(tmp_path, dips=False, at_floor=True, spread_everywhere=True)
    assert set(state.metrics["train/reward"]) == {2.0}
    assert all(value is not None and 5.0 <= value < 5.1 for value in state.metrics[published.GENERATE])
    assert all(value is not None and value > 0 for value in state.metrics["train/reward_std"])
    assert all(state.metrics["train/loss"])
