"""What a person reads: one line, exit code 2, and nothing written, whatever a run lacks."""

from __future__ import annotations

import shutil
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

import app
from tests.preflight.conftest import NAME, Hub
from trainer import launch
from trainer.run.rundir import outputs_dir

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refused("model.name=x"): the one line that the command prints."""

    def run(*overrides: str, preset: str = "tiny") -> str:
        changes = [part for override in overrides for part in ("--set", override)]
        code = app.main(["--headless", "--preset", preset, *changes])
        said = capsys.readouterr()
        assert code == launch.EXIT_INPUT
        assert said.out == ""
        assert not outputs_dir().exists()
        lines = said.err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return run


def test_a_missing_model_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused("model.warm_start=", f"model.name={tmp_path / 'gema'}")
    assert line.startswith("error: model.name: ")
    assert "gema" in line


def test_an_adapter_given_as_a_base(refused: Callable[..., str], make_model: Callable[..., Path]) -> None:
    adapter = {"base_model_name_or_path": "google/gemma-3-1b-it", "peft_type": "LORA"}
    folder = make_model(**{"config.json": None, "adapter_config.json": adapter})
    line = refused("model.warm_start=", f"model.name={folder}")
    assert "is an adapter" in line
    assert "--set model.name=google/gemma-3-1b-it" in line


def test_a_gated_repository_without_a_token(refused: Callable[..., str], hub: Hub) -> None:
    hub.refuse(401, "GatedRepo")
    line = refused("model.warm_start=", f"model.name={NAME}")
    assert "HF_TOKEN" in line


def test_no_gpu_for_a_27b_in_4_bits(refused: Callable[..., str], hub: Hub) -> None:
    hub.answers["/api/models/unsloth/gemma-3-27b-it-unsloth-bnb-4bit"] = (404, {}, {})  # tells nothing
    hints = ("model.engine=transformers", "model.gradient_checkpointing=true")
    line = refused(*hints, preset="gemma27b")
    assert 'model.device: is "cuda" and this machine has no NVIDIA GPU' in line


def test_a_disk_that_is_too_small(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 2**20))
    line = refused()
    assert "GiB" in line or "MiB" in line
    assert "ONEGRPO_OUTPUTS" in line


def test_an_outputs_folder_that_can_not_be_written(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 0))  # what is free there is no matter
    line = refused()
    assert line.startswith(f"error: {outputs_dir()}: cannot be written: {outputs_dir().parent}: Read-only file system")
    assert "ONEGRPO_OUTPUTS=FOLDER" in line


def test_a_hub_that_is_down(refused: Callable[..., str], hub: Hub) -> None:
    hub.refuse(500)
    line = refused("model.warm_start=", f"model.name={NAME}")
    assert line.endswith("answers 500  ->  try again later")


def test_an_address_in_place_of_a_name(refused: Callable[..., str]) -> None:
    line = refused("model.warm_start=", "model.name=https://huggingface.co/Qwen/Qwen3-0.6B")
    assert line.endswith("->  --set model.name=Qwen/Qwen3-0.6B")


@pytest.mark.parametrize("start", ["", "./", "s3://", "~/"])
def test_a_name_without_end_is_cut(refused: Callable[..., str], start: str) -> None:
    assert len(refused("model.warm_start=", f"model.name={start}{'n' * 5000}")) < 400


def test_unsloth_without_a_gpu(refused: Callable[..., str]) -> None:
    line = refused("model.engine=unsloth")
    assert 'model.engine: is "unsloth" and this machine has no NVIDIA GPU' in line
    assert "--set model.engine=transformers" in line
