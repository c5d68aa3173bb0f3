"""run.best and run.rewind: which checkpoint is meant, and what happens to the newer ones. Files are files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import evaluated, publish
from trainer.errors import CheckpointError, RunError
from trainer.machine.json_files import write_json
from trainer.run import checkpoints, rewind
from trainer.run.best import SCORES, Best, find_best, resolve_checkpoint
from trainer.run.records import EvalEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunState, state_of
from trainer.run.summary import summary
from trainer.text import Message

MakeRun = Callable[..., RunDir]


@pytest.mark.parametrize(
    ("there", "rewards", "expected", "of"),
    [
        ([2, 4, 6], {2: 0.5, 4: 0.7, 6: 0.6}, 4, 3),
        ([2, 4, 6], {2: 0.5, 4: 0.7, 6: 0.7}, 4, 3),  # of equals the one that drifted less
        ([2, 6], {2: 0.5, 4: 0.7, 6: 0.6}, 6, 3),  # the best of all is not there any more
        ([2, 4, 6], {6: -0.5}, 6, 1),
        ([2, 4, 6], {2: None, 4: 0.1}, 4, 1),  # no row could be judged
        ([2, 4, 6], {0: 0.9}, None, 0),  # the untrained model has no checkpoint
        ([2, 4, 6], {}, None, 0),
        ([], {2: 0.5}, None, 0),
    ],
)
def test_the_best_has_the_highest_held_out_reward_of_those_that_are_there(
    make_run: MakeRun, there: list[int], rewards: dict[int, float | None], expected: int | None, of: int
) -> None:
    run = make_run("tiny-1", *(evaluated(step, reward) for step, reward in rewards.items()))
    publish(run, *there)
    found = find_best(run, state_of(run))
    assert (found and found.step, found.of if found else 0) == (expected, of)
    assert summary(state_of(run), run)["best_step"] == expected


def test_where_the_reward_model_learns_the_best_has_the_most_right_answers(make_run: MakeRun) -> None:
    """Rewards of two checkpoints are of two judges."""
    learns = {"kind": "plan", "plan": {"reward_model_every": 10}}
    evals = [evaluated(0, 0.1, "before") | {"correct_frac": 0.25}]
    evals += [
        evaluated(step, reward) | {"correct_frac": right} for step, reward, right in ((2, 3.0, 0.5), (4, 1.0, 0.75))
    ]
    run = make_run("tiny-1", learns, *evals)
    publish(run, 2, 4)
    found = find_best(run, state_of(run))
    assert found is not None and (found.step, found.value, found.untrained) == (4, 0.75, 0.25)
    assert "share of right answers in held-out rows 0.75" in told(found)
    plain = make_run("tiny-2", {"kind": "plan", "plan": {"reward_model_every": None}}, *evals)
    publish(plain, 2, 4)
    found = find_best(plain, state_of(plain))
    assert found is not None and (found.step, found.value) == (2, 3.0)


def told(found: Best | None) -> str:
    assert found is not None
    return str(found.message())


def test_it_says_why_and_when_training_did_not_help(make_run: MakeRun) -> None:
    run = make_run("tiny-1", evaluated(0, 0.75, "before"), evaluated(2, 0.71), evaluated(4, 0.5))
    publish(run, 2, 4)
    said = "step 2, held-out reward 0.71, the best of 2 evaluated"
    assert told(find_best(run, state_of(run))) == f"{said}; the untrained model has 0.75: training has not improved it"
    run = make_run("tiny-2", evaluated(0, 0.1, "before"), evaluated(4, 0.5, "after"))
    publish(run, 2, 4)
    assert told(find_best(run, state_of(run))) == "step 4, held-out reward 0.5, the only one evaluated"


def scores(run: RunDir, step: int | None) -> None:
    rows: list[dict[str, Any]] = [
        {"epoch": "1", "step": 2, "mean": 0.4, "file": "inference_epoch1.json"},
        {"epoch": "3", "step": step, "mean": 0.8, "file": "inference_epoch3.json"},
    ]
    write_json(run.path / SCORES, {"epochs": rows, "best": rows[1]})


@pytest.mark.parametrize(("step", "expected"), [(6, 6), (8, 4), (None, 4)])
def test_scores_count_before_the_evaluations_as_long_as_their_checkpoint_is_there(
    make_run: MakeRun, step: int | None, expected: int
) -> None:
    run = make_run("tiny-1", evaluated(4, 0.7), evaluated(6, 0.6))
    publish(run, 2, 4, 6)
    scores(run, step)
    found = find_best(run, state_of(run))
    assert found is not None
    assert found.step == expected
    if expected == 6:
        assert told(found) == "step 6, mean score of epoch 3 0.8, the best of 2 evaluated"


@pytest.mark.parametrize(
    ("named", "epochs"),
    [
        ("3", "[]"),
        ('{"step": 2}', "[]"),
        ('{"step": 2, "mean": "x"}', "[]"),
        ('{"step": 2, "mean": NaN}', "[]"),
        ('{"step": 2, "mean": 1e999}', "[]"),
        ('{"step": 2, "mean": 0.5}', "3"),
    ],
)
def test_scores_that_are_no_scores_are_not_taken(make_run: MakeRun, named: str, epochs: str) -> None:
    run = make_run()
    publish(run, 2)
    (run.path / SCORES).write_text(f'{{"best": {named}, "epochs": {epochs}}}')
    assert find_best(run, state_of(run)) is None


@pytest.mark.parametrize("content", ["[]", "{", ""])
def test_a_file_that_holds_no_scores_is_not_taken(make_run: MakeRun, content: str) -> None:
    run = make_run()
    publish(run, 2)
    (run.path / SCORES).write_text(content)
    assert find_best(run, state_of(run)) is None


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_held_out_reward_that_is_no_number_is_not_the_best(make_run: MakeRun, reward: float) -> None:
    """NaN first would win: nothing is greater."""
    run = make_run()
    publish(run, 2, 4)
    found = find_best(run, RunState(evals=[EvalEvent(step=2, reward=reward), EvalEvent(step=4, reward=0.1)]))
    assert found is not None
    assert (found.step, found.value, found.of) == (4, 0.1, 1)


@pytest.mark.parametrize(
    ("label", "seconds", "expected"),
    [("3", -1.0, 6), ("3", 0.0, 6), ("3", 1.0, 4), ("1", 1.0, 4), ("4", -1.0, 4)],
    ids=["before", "with them", "after", "another after", "unknown"],
)
def test_scores_do_not_count_once_answers_were_written_after_them(
    make_run: MakeRun, label: str, seconds: float, expected: int
) -> None:
    run = make_run("tiny-1", evaluated(4, 0.7), evaluated(6, 0.6))
    publish(run, 2, 4, 6)
    scores(run, 6)
    written = (run.path / SCORES).stat().st_mtime
    run.inference_file(label).write_text("[]")
    os.utime(run.inference_file(label), (written + seconds, written + seconds))
    found = find_best(run, state_of(run))
    assert found is not None
    assert found.step == expected


@pytest.mark.parametrize(("which", "step"), [("best", 4), ("latest", 6), ("2", 2), (None, 4)])
def test_the_checkpoint_that_is_meant(make_run: MakeRun, which: str | None, step: int) -> None:
    run = make_run("tiny-1", evaluated(4, 0.7), evaluated(6, 0.6))
    publish(run, 2, 4, 6)
    said: list[Message] = []
    assert resolve_checkpoint(run, state_of(run), which, said.append) == checkpoints.Checkpoint(
        run.checkpoint(step), step
    )
    assert [*map(str, said)] == (["step 4, held-out reward 0.7, the best of 2 evaluated"] if step == 4 else [])


def test_every_checkpoint_that_can_be_typed_is_named(make_run: MakeRun) -> None:
    run = make_run()
    publish(run, *range(1, 12))
    with pytest.raises(RunError, match=r"one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11$"):
        resolve_checkpoint(run, state_of(run), "12", print)


def test_without_evaluations_the_newest_that_verifies_is_taken_and_best_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(RunError, match="has no checkpoint"):
        resolve_checkpoint(run, state_of(run), "latest", print)
    publish(run, 2, 4)
    (run.checkpoint(4) / "optimizer.pt").write_bytes(b"")
    said: list[Message] = []
    assert resolve_checkpoint(run, state_of(run), None, said.append).step == 2
    assert [*map(str, said)] == ["checkpoint-4: skipped, optimizer.pt has 0 bytes instead of 12"]
    with pytest.raises(RunError, match=r"no checkpoint of run tiny-1 was evaluated .*->  latest, or one of 2, 4"):
        resolve_checkpoint(run, state_of(run), "best", print)
    with pytest.raises(CheckpointError, match=r"checkpoint-4: optimizer\.pt has 0 bytes"):
        resolve_checkpoint(run, state_of(run), "4", print)
    (run.checkpoint(2) / "optimizer.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint is intact"):
        resolve_checkpoint(run, state_of(run), "latest", print)


def test_going_back_sets_all_that_is_newer_aside_and_deletes_nothing(make_run: MakeRun) -> None:
    run = make_run()
    publish(run, 2, 3, 4)  # epochs 1, 1.5 and 2
    scores(run, 4)
    for label in ("1", "1.5", "2"):
        (run.path / f"epoch_{label}").mkdir()
        (run.path / f"epoch_{label}" / "adapter_model.safetensors").write_text(label)
        (run.path / f"inference_epoch{label}.json").write_text(label)
    chosen = resolve_checkpoint(run, state_of(run), "3", print)
    moved = rewind.go_back(run, chosen)
    assert moved == ["checkpoint-4", "epoch_2", "inference_epoch2.json", SCORES]
    assert checkpoints.newest_verified(run.checkpoints)[0] == chosen
    (aside,) = run.checkpoints.glob("aside-checkpoint-4-*")
    assert checkpoints.verify(aside) is None
    (folder,) = run.path.glob("aside-*")
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_2", "inference_epoch2.json", SCORES]
    assert (folder / "epoch_2" / "adapter_model.safetensors").read_text() == "2"
    assert sorted(path.name for path in run.path.glob("epoch_*")) == ["epoch_1", "epoch_1.5"]
    assert rewind.go_back(run, chosen) == []


def test_going_on_from_the_newest_moves_nothing(make_run: MakeRun) -> None:
    run = make_run()
    publish(run, 2, 4)
    scores(run, 4)
    before = sorted(Path(run.path).rglob("*"))
    assert rewind.go_back(run, resolve_checkpoint(run, state_of(run), "4", print)) == []
    assert sorted(Path(run.path).rglob("*")) == before
