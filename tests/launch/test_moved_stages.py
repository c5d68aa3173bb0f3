"""Files of a chain that lie elsewhere now: what is said to one stage holds for those after it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from trainer import launch
from trainer.errors import RunError
from trainer.launch import agreement
from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir

WORDS = PROJECT / "presets" / "data" / "reverse_train.jsonl"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return Path(shutil.copy(WORDS, tmp_path / "rows.jsonl"))


def first(rows: Path, *overrides: str) -> RunDir:
    run = launch.create("tiny-stages", *launch.prepare("tiny-stages", [f"data.path={rows}", *overrides]), "demo")
    os.utime(run.spec, (1000, 1000))  # else it is just being started
    return run


def agree(run: RunDir, *overrides: str) -> None:
    agreement.agree(run, overrides, False).write(run, 1)


def later(run: RunDir) -> str:
    chain = run.read_spec().chain
    assert chain is not None
    return str(chain.following[0].settings["data"]["path"])


def test_later_stages_move_along(rows: Path) -> None:
    run = first(rows)
    now = rows.rename(rows.with_name("elsewhere.jsonl"))
    with pytest.raises(RunError, match=r"rows\.jsonl"):
        agree(run)
    agree(run, f"data.path={now}")
    assert run.read_spec().data.path == later(run) == str(now)
    agree(run)


def test_a_file_of_a_later_stage_alone_is_named_by_its_stage(rows: Path) -> None:
    others = Path(shutil.copy(rows, rows.with_name("others.jsonl")))
    run = first(rows, f"stage.1.data.path={others}")
    assert later(run) == str(others)
    now = others.rename(rows.with_name("elsewhere.jsonl"))
    with pytest.raises(RunError, match=r"stage\.1\.data\.path.*others\.jsonl") as refused:
        agree(run)
    assert "--set stage.1.data.path=FILE" in str(refused.value)
    agree(run, f"stage.1.data.path={now}")
    assert (run.read_spec().data.path, later(run)) == (str(rows), str(now))


def test_what_was_kept_with_a_chain_is_found_when_the_folder_moved(rows: Path) -> None:
    launch.make_state_dir()
    kept = launch.state_dir() / launch.CHOSEN / "a" / "mine.jsonl"
    kept.parent.mkdir(parents=True)
    shutil.copy(rows, kept)
    run = first(kept)
    kept.unlink()
    before = run.read_spec().data.path
    assert before is not None and Path(before).is_relative_to(run.path)
    moved = RunDir(run.path.rename(run.path.with_name("other.1-sft")))
    agree(moved)
    assert later(moved) == moved.read_spec().data.path == str(moved.path / "files" / "mine.jsonl")
