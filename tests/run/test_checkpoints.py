"""trainer.run.checkpoints: complete or not there, and damage of any kind is found. No torch: files are files."""

import ast
import json
import os
import random
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


FILE = {"size": 1, "sha256": "0" * 64}
ODD: dict[str, bytes] = {
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"files"',
    "files are a list": b'{"schema": 2, "files": []}',
    "files are null": b'{"schema": 2, "files": null}',
    "schema is a list": b'{"schema": [2], "files": {}}',
    "schema is a flag": b'{"schema": true, "files": {}}',
    "nested without end": b"[" * 100_000,
    "a file is a number": json.dumps({"schema": 2, "files": dict.fromkeys(FILES, 7)}).encode(),
    "sizes are texts": json.dumps({"schema": 2, "files": dict.fromkeys(FILES, FILE | {"size": "1"})}).encode(),
    "sizes are huge": json.dumps({"schema": 2, "files": dict.fromkeys(FILES, FILE | {"size": 10**400})}).encode(),
    "digits without end": b'{"schema": ' + b"9" * 5000 + b"}",
    "NUL": b'{"schema": 2}\0',
    "not UTF-8": b'{"schema": "\xff\xfe"}',
    "UTF-16": '{"schema": 2}'.encode("utf-16"),
    "a name no file can have": json.dumps({"schema": 2, "files": {"a\0b": FILE, "x" * 9000: FILE}}).encode(),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("sealed", [False, True])
def test_an_odd_manifest_is_skipped_and_named(tmp_path: Path, content: bytes, sealed: bool) -> None:
    good, odd = publish(tmp_path, 10), publish(tmp_path, 20)
    if sealed:  # as if written so: what a seal does not find
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            content = json.dumps(value | {checkpoints.SEAL: checkpoints._seal(value)}, indent=1).encode()
    (odd.path / checkpoints.MANIFEST).write_bytes(content)
    found, skipped = checkpoints.newest_verified(tmp_path)
    assert (found, [name for name, wrong in skipped if str(wrong)]) == (good, ["checkpoint-20"])


def test_no_byte_of_a_manifest_can_be_another(tmp_path: Path) -> None:
    path, dice = publish(tmp_path, 20).path / checkpoints.MANIFEST, random.Random(0)
    whole = path.read_bytes()
    for place in range(dice.randrange(2), len(whole), 2):
        byte = whole[place]
        other = byte ^ 1 << dice.randrange(8) if place % 3 else dice.choice([ord(" "), ord("1"), byte ^ 255])
        path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
        assert other == byte or checkpoints.sealed_manifest(path.parent) is None, (place, chr(byte), chr(other))


@pytest.mark.parametrize("name", [checkpoints.MANIFEST, "optimizer.pt"])
@pytest.mark.parametrize("kind", ["folder", "loop", "pipe", "endless", "nowhere"])
def test_what_is_no_file_is_skipped_and_named(tmp_path: Path, name: str, kind: str) -> None:
    good, odd = publish(tmp_path, 10), publish(tmp_path, 20)
    path = odd.path / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": str(path), "endless": "/dev/zero", "nowhere": "nothing"}[kind])
    found, skipped = checkpoints.newest_verified(tmp_path)
    assert (found, [name for name, wrong in skipped if str(wrong)]) == (good, ["checkpoint-20"])


def test_a_checkpoint_without_permission_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, closed = publish(tmp_path, 10), publish(tmp_path, 20)
    opened = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if closed.path in self.parents and self.name == "optimizer.pt":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    found, ((name, wrong),) = checkpoints.newest_verified(tmp_path)
    assert (found, name) == (good, "checkpoint-20")
    assert "Permission denied" in str(wrong)


def test_a_checkpoint_under_another_name_is_not_taken(tmp_path: Path) -> None:
    publish(tmp_path, 10).path.rename(tmp_path / "checkpoint-100")
    (tmp_path / "checkpoint-200").write_text("no folder")
    found, skipped = checkpoints.newest_verified(tmp_path)
    assert found is None
    assert "checkpoint-10 under another name" in str(dict(skipped)["checkpoint-100"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), r"could not be saved, its disk is full .*free disk space"),
        (OSError(122, "Disk quota exceeded"), r"could not be saved, its disk is full .*free disk space"),
        (Exception("No space left on device (os error 28)"), r"could not be saved, its disk is full .*free disk space"),
        (PermissionError(13, "Permission denied"), r"could not be saved: .*make .* writable"),
        (OSError(30, "Read-only file system"), r"could not be saved: .*make .* writable"),
        (Exception("Permission denied (os error 13)"), r"could not be saved: .*make .* writable"),
        (OSError(5, "Input/output error"), r"could not be saved: .*put that right"),
        (RuntimeError("unexpected pos 64 vs 0"), r"could not be saved: .*put that right"),
        (KeyError("base_model"), r"could not be saved: .*put that right"),
    ],
)
def test_whatever_keeps_a_save_from_its_end_is_one_message(tmp_path: Path, error: Exception, said: str) -> None:
    with (
        pytest.raises(CheckpointError, match=rf"^checkpoint-20: {said}") as caught,
        checkpoints.saving(tmp_path, "checkpoint-20"),
    ):
        raise error
    assert ("free disk space" in str(caught.value)) == ("full" in said)


def test_torch_does_not_say_that_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="free disk space"), checkpoints.saving(tmp_path, "checkpoint-20"):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


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


def test_what_has_only_the_name_of_a_checkpoint_goes_like_one(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "checkpoint-1").touch()
    (folder / "checkpoint-2").symlink_to(elsewhere)
    (folder / "checkpoint-3").symlink_to("checkpoint-3")
    os.mkfifo(folder / "checkpoint-4")
    (folder / "checkpoint-5").mkdir()
    assert len(checkpoints.rotate(folder, keep=1)) == 4
    assert [path.name for path in folder.iterdir()] == ["checkpoint-5"] and elsewhere.is_dir()
