"""The adapter that a run starts from is the run's own, whatever becomes of where it came from."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer import launch, presets
from trainer.errors import RunError
from trainer.run import spec_file, start_files
from trainer.run.rundir import RunDir
from trainer.run.start_files import Origin
from trainer.spec import RunSpec


def adapter(folder: Path) -> Path:
    folder.mkdir()
    lora = presets.load("tiny-qlora", []).lora
    config = {"peft_type": "LORA", "r": lora.r, "lora_alpha": lora.alpha}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEGRPO_OUTPUTS", str(tmp_path / "outputs"))
    return (tmp_path / "outputs").resolve()


def started(folder: Path) -> RunDir:
    spec, plan = launch.prepare("tiny-qlora", [f"model.adapter={folder}"])
    assert str(plan.start) == str(folder)
    return launch.create("tiny-qlora", spec, plan, "made")


def test_a_run_keeps_what_it_starts_from(outputs: Path, tmp_path: Path) -> None:
    source = adapter(tmp_path / "source")
    run = started(source)
    shutil.rmtree(source)
    noted = start_files.noted(run.env)
    assert noted is not None and noted["typed"] == str(source)
    assert start_files.damaged(run.start, noted) is None
    assert run.read_spec().model.adapter == str(source)  # as it was typed
    assert {path.name for path in run.start.iterdir()} == set(start_files.FILES)
    (run.start / "adapter_model.safetensors").write_bytes(b"other")
    assert start_files.damaged(run.start, noted) == "adapter_model.safetensors"


def test_a_full_disk_leaves_no_run_behind(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = adapter(tmp_path / "source")
    monkeypatch.setattr("trainer.run.start_files.shutil.copyfile", full)
    with pytest.raises(RunError) as caught:
        started(source)
    assert [problem.key for problem in caught.value.problems] == ["run.start_disk_full"]
    assert list(outputs.iterdir()) == []


def test_a_copy_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    origin = Origin("typed", adapter(tmp_path / "source"))
    draft = tmp_path / ".start-draft"
    draft.mkdir()
    (draft / "adapter_model.safetensors").write_bytes(b"wei")
    noted = start_files.taken_in(origin, tmp_path / "start")
    assert start_files.damaged(tmp_path / "start", noted) is None and not draft.exists()


def test_a_source_that_is_gone_meanwhile_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        start_files.taken_in(Origin("typed", tmp_path / "gone"), tmp_path / "start")
    assert [problem.key for problem in caught.value.problems] == ["run.start_not_copied"]


def test_settings_of_before_are_read_under_the_key_of_now(tmp_path: Path) -> None:
    spec = presets.load("tiny-qlora", ["model.adapter=outputs/old/checkpoints/checkpoint-2"])
    stored = spec_file.tables(spec)
    stored["lora"]["start_from"] = stored["model"].pop("adapter")
    read: RunSpec = spec_file.parse(json.dumps(stored).encode())
    assert read == spec
