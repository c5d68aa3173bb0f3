"""The run directory: names, all-or-nothing creation, nothing outside outputs."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import RunError
from trainer.machine import environment
from trainer.machine.json_files import read_json, write_json
from trainer.run import rundir
from trainer.run.outputs import next_name, outputs_problem
from trainer.run.rundir import RunDir, list_runs, outputs_dir
from trainer.spec import RunSpec

MakeRun = Callable[..., RunDir]
PLAN: Any = {"optimizer_steps": 4}


def test_a_run_holds_its_spec_plan_and_environment(spec: RunSpec) -> None:
    made = RunDir.create(outputs_dir(), "tiny-1", spec, PLAN, {"python": "3.11"})
    opened = RunDir.open(outputs_dir(), "tiny-1")
    assert opened == made
    assert opened.read_spec() == spec
    assert read_json(opened.plan) == PLAN
    assert read_json(opened.env) == {"python": "3.11"}


def test_file_names_are_these(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a")
    paths = [run.rollouts_file(20), run.checkpoint(20), run.staging, run.log_file(1), run.events]
    assert [path.relative_to(run.path).as_posix() for path in paths] == [
        "rollouts/step_000020.jsonl",
        "checkpoints/checkpoint-20",
        "checkpoints/.staging",
        "logs/attempt_1.log",
        "events.jsonl",
    ]


def test_outputs_follow_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outputs_dir() == tmp_path / "outputs"
    monkeypatch.delenv("ONEGRPO_OUTPUTS")
    assert outputs_dir() == Path(__file__).resolve().parents[2] / "outputs"


def test_outputs_may_be_missing_but_not_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert outputs_problem(tmp_path) is None
    assert outputs_problem(tmp_path / "not" / "there") is None
    assert "a file, and must be a folder" in str(outputs_problem(tmp_path / "file"))
    assert f"is in {tmp_path / 'file'}" in str(outputs_problem(tmp_path / "file" / "x"))
    monkeypatch.delenv("ONEGRPO_OUTPUTS")
    assert str(outputs_problem(tmp_path / "file")).startswith(f"{tmp_path / 'file'}: ")


def test_a_taken_name_lists_the_ways_out(make_run: MakeRun) -> None:
    make_run("tiny-1")
    with pytest.raises(RunError, match=r"--name .* --resume tiny-1 .* delete"):
        make_run("tiny-1")


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc", "-x", ".hidden", "a" * 65, "a b", "a\n", "ü"])
def test_a_bad_name_is_refused_for_create_and_open(make_run: MakeRun, name: str) -> None:
    with pytest.raises(RunError, match="letter"):
        make_run(name)
    with pytest.raises(RunError, match="letter"):
        RunDir.open(outputs_dir(), name)


def test_a_link_is_no_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("tiny-1")
    (outputs_dir() / "link").symlink_to(run.path)
    (outputs_dir() / "out").symlink_to(tmp_path)
    for name in ("link", "out"):
        with pytest.raises(RunError, match="link"):
            RunDir.open(outputs_dir(), name)
        with pytest.raises(RunError, match="link"):
            make_run(name)
    assert list_runs(outputs_dir()) == [run]


def test_an_unknown_run_names_the_nearest(make_run: MakeRun) -> None:
    make_run("tiny-1")
    make_run("gemma27b-1")
    with pytest.raises(RunError, match=r"gemma27b-1"):
        RunDir.open(outputs_dir(), "gema27b-1")


def test_a_failed_creation_leaves_nothing(make_run: MakeRun, spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    unwritable: Any = {"optimizer_steps": object()}
    with pytest.raises(TypeError):
        RunDir.create(outputs_dir(), "tiny-1", spec, unwritable, {})
    assert list(outputs_dir().iterdir()) == []


def test_what_a_killed_process_left_is_no_run_and_goes_away(make_run: MakeRun) -> None:
    leftover = outputs_dir() / f"{rundir._UNFINISHED}tiny-9-1-abc"
    leftover.mkdir(parents=True)
    (leftover / "spec.json").write_text("{}")
    assert list_runs(outputs_dir()) == []
    os.utime(leftover, (0, 0))
    make_run("tiny-1")
    assert not leftover.exists()


def test_of_many_creators_one_gets_the_name(make_run: MakeRun) -> None:
    won: list[RunDir] = []

    def work() -> None:
        with contextlib.suppress(RunError):
            won.append(make_run("tiny-1"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [path.name for path in outputs_dir().iterdir()] == ["tiny-1"]


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("tiny", "tiny-1"),
        ("my/own exp.toml", "own-exp-1"),
        ("contest/malpyeong", "malpyeong-1"),
        ("한국.toml", "run-1"),
        ("x" * 99, "x" * 40 + "-1"),
    ],
)
def test_a_name_is_made_from_the_preset(preset: str, name: str) -> None:
    assert next_name(outputs_dir(), preset) == name
    assert rundir.NAME.fullmatch(name)


def test_numbers_go_on_after_the_highest(make_run: MakeRun) -> None:
    make_run("tiny-1")
    make_run("tiny-7")
    make_run("tiny-big-9")
    assert next_name(outputs_dir(), "tiny") == "tiny-8"


def test_runs_are_listed_newest_first(make_run: MakeRun) -> None:
    for age, name in enumerate(["new", "older", "oldest"]):
        os.utime(make_run(name).spec, (1000 - age, 1000 - age))
    (outputs_dir() / "notes").mkdir()
    assert [run.name for run in list_runs(outputs_dir())] == ["new", "older", "oldest"]


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_attempts_are_counted_by_their_logs(make_run: MakeRun) -> None:
    run = make_run()
    assert run.newest_attempt() == 0
    for name in ("attempt_2.log", "attempt_10.log", "attempt_x.log"):
        (run.logs / name).touch()
    assert run.newest_attempt() == 10


def test_the_environment_names_exact_versions() -> None:
    env = environment.describe()
    assert {"torch", "trl", "transformers"} <= env["packages"].keys()
    assert env["cpu_count"] >= 1
    assert env["ram_gib"] > 0
