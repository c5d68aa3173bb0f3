"""A run of a task keeps its rows: it resumes on them wherever it lies and whatever the package has become."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from trainer import launch, presets
from trainer.errors import RunError
from trainer.launch import agreement
from trainer.run.rundir import RunDir, outputs_dir
from trainer.tasks import catalogue, generated
from trainer.ui.train import toml


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run() -> RunDir:
    """Made and never started; its model is in no need of a download."""
    model = ["model.name=builtin/tiny-qwen3", "optim.max_steps=2"]
    spec = presets.load("smollm2", ["data.task=reasoning_gym:chain_sum", "data.task_size=30", *model])
    found = launch.create("smollm2", spec, launch.plan_here(spec, 27), "sums")
    os.utime(found.spec, (1000, 1000))
    return found


def rows_of(run: RunDir) -> Path:
    return Path(str(run.read_spec().data.path))


def agreed(run: RunDir) -> list[str]:
    return [str(alert.text) for alert in agreement.agree(run, (), force=False).alerts]


def test_a_run_has_its_rows_in_its_folder_and_needs_no_cache(run: RunDir) -> None:
    assert rows_of(run).parent == run.path / "files" and len(rows_of(run).read_bytes().splitlines()) == 30
    shutil.rmtree(generated.folder())
    assert agreed(run) == [] and not generated.folder().exists()
    assert agreement.agree(run, (), force=False).hashes.keys() == {"data.path"}


def test_rows_of_an_older_version_stay_and_the_other_verifier_is_said(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: "9.9.9")
    (said,) = agreed(run)
    assert "made by reasoning-gym 0.1.25, and its verifier is now that of 9.9.9" in said
    assert agreement.agree(run, (), force=False).spec.data.path == str(rows_of(run))


def test_a_run_that_was_moved_finds_its_rows(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: "9.9.9")
    moved = RunDir(run.path.with_name("moved"))
    run.path.rename(moved.path)
    found = agreement.agree(moved, (), force=False)
    assert Path(str(found.spec.data.path)).parent == moved.path / "files"
    assert found.spec.data.task == "reasoning_gym:chain_sum"


def test_without_the_package_a_resume_is_refused_at_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: None)
    with pytest.raises(RunError, match="needs the package reasoning-gym, which is not installed"):
        agreed(run)


def test_a_clone_names_the_task_and_no_file_of_the_run(run: RunDir) -> None:
    raw = toml.plain(run.read_spec())
    assert "path" not in raw["data"] and raw["data"]["task"] == "reasoning_gym:chain_sum"
    harder = presets.draft(raw, ["data.task_params.max_terms=9"], "run sums").spec
    assert harder is not None and harder.data.path != str(rows_of(run))
    assert harder.reward == run.read_spec().reward and outputs_dir() not in Path(str(harder.data.path)).parents
