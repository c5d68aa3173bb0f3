"""Every byte of a checkpoint counts: a real one of the tiny model, with a bit of it turned over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import tiny_trainer
from trainer.errors import CheckpointError
from trainer.run import checkpoints
from trainer.run import settings as run_settings
from trainer.spec import RunSpec


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoint-1 and checkpoint-2."""
    folder = tmp_path_factory.mktemp("saved")
    trainer, recorder = tiny_trainer(folder / "staging", save_strategy="steps", save_steps=1)
    trainer.train()
    spec = RunSpec.model_validate(
        {"model": {"name": "builtin/tiny-qwen3"}, "data": {}, "reward": {"components": [{"function": "exact_match"}]}}
    )
    facts = {"run": "tiny", "data": "ab" * 32, "model": "x", "versions": {"torch": None}, **run_settings.recorded(spec)}
    for step, staged in recorder.checkpoints:
        checkpoints.publish(staged, folder, facts | {"step": step})
    return folder


def found_with(path: Path, place: int, byte: int, folder: Path) -> tuple[int | None, list[str]]:
    """(step of the checkpoint that is taken, names of those that are not) with that byte there, then put back."""
    with path.open("r+b") as file:
        file.seek(place)
        before = file.read(1)
        file.seek(place)
        file.write(bytes([byte]))
        file.flush()
        newest, skipped = checkpoints.newest_verified(folder)
        file.seek(place)
        file.write(before)
    return newest.step if newest else None, [name for name, wrong in skipped if str(wrong)]


@settings(max_examples=40, deadline=None, database=None)
@given(data=st.data())
def test_a_flipped_bit_anywhere_means_the_checkpoint_before(saved: Path, data: st.DataObject) -> None:
    files = sorted(path for path in (saved / "checkpoint-2").rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    flipped = path.read_bytes()[place] ^ 1 << data.draw(st.integers(0, 7))
    assert found_with(path, place, flipped, saved) == (1, ["checkpoint-2"]), (path, place)


def test_what_rust_says_of_a_save_is_said_as_of_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, _ = tiny_trainer(tmp_path / "staging", save_strategy="steps", save_steps=1)
    trainer.processing_class.save_pretrained = _refuse  # tokenizers 0.22 raises Exception itself
    with pytest.raises(CheckpointError, match=r"checkpoint-1: could not be saved, its disk is full .*free disk space"):
        trainer.train()


def _refuse(*args: object, **kwargs: object) -> None:
    raise Exception("No space left on device (os error 28)")


def test_an_older_manifest_is_read_and_its_keys_may_not_change(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved / "checkpoint-2", folder / "checkpoint-2")
    manifest = checkpoints.read_manifest(folder / "checkpoint-2")
    first = {"run": "tiny", "data": "ab" * 32, "model": "x", "versions": {}, "step": 2, "files": manifest["files"]}
    path = folder / "checkpoint-2" / checkpoints.MANIFEST
    path.write_text(json.dumps({"schema": 1} | first, indent=1))
    assert checkpoints.verify(path.parent) is None
    wrongs: list[dict[str, object]] = [
        {"datb": "x"},
        {"data": None},
        {"versions": []},
        {"step": "2"},
        {"step": 3},
        {"model": 7},
    ]
    for wrong in wrongs:
        path.write_text(json.dumps({"schema": 1} | first | wrong, indent=1))
        assert checkpoints.verify(path.parent) is not None, wrong
