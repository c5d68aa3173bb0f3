"""trainer.run.checkpoints: complete or not there, and damage of any kind is found. No torch: files are files."""

import ast
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import CheckpointError
from trainer.run import checkpoints

FILES = {
    "model.safetensors": b"w" * 1000,
    "optimizer.pt": b"o" * 500,
    "scheduler.pt": b"s",
    "rng_state.pth": b"r",
    "trainer_state.json": b"{}",
}


def staged(tmp_path: Path, step: int) -> Path:
    folder = tmp_path / ".staging" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "training_args.bin").write_bytes(b"pickle")
    return folder


def publish(tmp_path: Path, step: int) -> checkpoints.Checkpoint:
    return checkpoints.publish(staged(tmp_path, step), tmp_path, {"step": step})


def test_a_published_checkpoint_verifies_and_carries_no_pickled_arguments(tmp_path: Path) -> None:
    published = publish(tmp_path, 20)
    assert published == checkpoints.Checkpoint(tmp_path / "checkpoint-20", 20)
    assert checkpoints.verify(published.path) is None
    assert not (published.path / "training_args.bin").exists()
    assert list((tmp_path / ".staging").iterdir()) == []


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size // 2)])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def zero(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [remove, empty, halve, flip, zero])
@pytest.mark.parametrize("name", [*FILES, checkpoints.MANIFEST])
def test_every_damage_to_every_file_falls_back_to_the_checkpoint_before(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    good = publish(tmp_path, 10)
    damaged = publish(tmp_path, 20)
    damage(damaged.path / name)
    found, skipped = checkpoints.newest_verified(tmp_path)
    assert found == good
    assert [(which, bool(reason)) for which, reason in skipped] == [("checkpoint-20", True)]


def test_order_is_by_step_not_by_name_or_time(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        publish(tmp_path, step)
    os.utime(tmp_path / "checkpoint-3")
    assert [found.step for found in checkpoints.listed(tmp_path)] == [3, 20, 100]
    assert checkpoints.rotate(tmp_path, keep=2) == ["checkpoint-3"]
    found, _ = checkpoints.newest_verified(tmp_path)
    assert found is not None
    assert found.step == 100


@pytest.mark.parametrize("missing", [*checkpoints.REQUIRED, "model.safetensors"])
def test_an_incomplete_save_is_never_published(tmp_path: Path, missing: str) -> None:
    folder = staged(tmp_path, 20)
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=f"saved without .*{'weights' if 'model' in missing else missing}"):
        checkpoints.publish(folder, tmp_path, {"step": 20})
    assert checkpoints.listed(tmp_path) == []


@pytest.mark.parametrize("call", ["rename", "fsync", "json.dump"])
def test_a_crash_at_any_point_of_publishing_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    good = publish(tmp_path, 10)
    folder = staged(tmp_path, 20)

    def crash(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"rename": (Path, "rename"), "fsync": (os, "fsync"), "json.dump": (json, "dump")}[call]
    monkeypatch.setattr(*target, crash)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.publish(folder, tmp_path, {"step": 20})
    assert checkpoints.newest_verified(tmp_path) == (good, [])


def test_a_checkpoint_of_another_schema_is_not_resumed_from(tmp_path: Path) -> None:
    published = publish(tmp_path, 10)
    manifest = checkpoints.read_manifest(published.path) | {"schema": 99}
    (published.path / checkpoints.MANIFEST).write_text(json.dumps(manifest))
    assert "schema 99" in str(checkpoints.verify(published.path))


def test_a_full_disk_costs_the_oldest_and_never_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (10, 20, 30):
        publish(tmp_path, step)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match=r"free .* GiB, then resume the run"):
        checkpoints.make_room(tmp_path)
    assert [found.step for found in checkpoints.listed(tmp_path)] == [30]


def test_room_is_made_for_what_is_written_beside_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (10, 20):
        publish(tmp_path, step)
    one = checkpoints.size(tmp_path / "checkpoint-20")
    beside = 2**20
    asked: list[str] = []

    def size(newest: Path) -> int:
        asked.append(newest.name)
        return beside

    free = round(1.2 * (one + beside)) + checkpoints.SPARE_BYTES
    usage = {"free": free}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, usage["free"]))  # type: ignore[attr-defined]
    assert checkpoints.make_room(tmp_path, beside=size) == []
    usage["free"] = free - 1
    assert checkpoints.make_room(tmp_path) == []
    with pytest.raises(CheckpointError, match=r"a save needs 0\.06"):
        checkpoints.make_room(tmp_path, beside=size)
    assert [found.step for found in checkpoints.listed(tmp_path)] == [20]
    assert set(asked) == {"checkpoint-20"}


def test_a_save_cut_short_is_forgotten(tmp_path: Path) -> None:
    staged(tmp_path, 20)
    checkpoints.clear_staging(tmp_path / ".staging")
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_damaged_checkpoint_is_set_aside_and_no_longer_counts(tmp_path: Path) -> None:
    good, damaged = publish(tmp_path, 10), publish(tmp_path, 20)
    flip(damaged.path / "optimizer.pt")
    aside = checkpoints.set_aside(tmp_path, "checkpoint-20")
    assert (aside / "model.safetensors").is_file()
    assert checkpoints.listed(tmp_path) == [good]
    assert checkpoints.rotate(tmp_path, keep=1) == []


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (3, None, [30, 40, 50]),
        (3, 50, [30, 40, 50]),
        (3, 10, [10, 40, 50]),
        (2, 20, [20, 50]),
        (1, 20, [20, 50]),
        (1, 50, [50]),
        (1, None, [50]),
        (2, 99, [40, 50]),  # not there
        (9, 10, [10, 20, 30, 40, 50]),
    ],
)
def test_rotation_keeps_the_newest_and_the_best(tmp_path: Path, keep: int, best: int | None, left: list[int]) -> None:
    steps = [10, 20, 30, 40, 50]
    for step in steps:
        publish(tmp_path, step)
    deleted = checkpoints.rotate(tmp_path, keep, best)
    assert [found.step for found in checkpoints.listed(tmp_path)] == left
    assert deleted == [f"checkpoint-{step}" for step in steps if step not in left]


@pytest.mark.parametrize(("deletions", "left"), [(0, [10, 20, 30, 40]), (1, [10, 30, 40]), (2, [10, 40]), (3, [40])])
def test_a_full_disk_costs_the_best_only_after_all_but_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deletions: int, left: list[int]
) -> None:
    for step in (10, 20, 30, 40):
        publish(tmp_path, step)

    def usage(path: Path) -> Any:
        enough = len(checkpoints.listed(tmp_path)) <= 4 - deletions
        return shutil._ntuple_diskusage(1, 1, 2**40 if enough else 0)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert len(checkpoints.make_room(tmp_path, best=10)) == deletions
    assert [found.step for found in checkpoints.listed(tmp_path)] == left


# ---- who spells its files


OWN = ("trainer_state.json", "checkpoint-", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth")


def spelt(path: Path) -> set[str]:
    """Those of OWN that stand in a string of the module that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]
    return {name for name in OWN for text in texts if name in text}


def test_names_of_a_checkpoint_and_its_files_are_spelt_in_one_module() -> None:
    root = Path(checkpoints.__file__).parents[1]
    found = {str(path.relative_to(root)): names for path in root.rglob("*.py") if (names := spelt(path))}
    assert found == {"run/checkpoints.py": set(OWN)}


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"epoch": "x"}', None])
def test_an_epoch_that_cannot_be_read_is_said(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / checkpoints.STATE).write_text(content)
    with pytest.raises(CheckpointError, match=r"cannot be read: trainer_state\.json"):
        checkpoints.Checkpoint(tmp_path, 1).epoch()


def test_the_epoch_is_what_transformers_put_down(tmp_path: Path) -> None:
    for said, epoch in (("0.5", 0.5), ("null", 0.0), ("3", 3.0)):
        (tmp_path / checkpoints.STATE).write_text(f'{{"epoch": {said}}}')
        assert checkpoints.Checkpoint(tmp_path, 1).epoch() == epoch
