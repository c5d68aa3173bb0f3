"""Training that goes on with an adapter: never one of other weights or layers, and what is kept in the run's folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import write_run
from trainer import presets
from trainer.errors import CheckpointError, EngineError
from trainer.run import start_files
from trainer.run.rundir import RunDir
from trainer.run.start_files import Origin
from trainer.spec import RunSpec
from trainer.worker import starting
from trainer.worker.training import Training


def begin(
    trained_on: str | None, resumed: Any = None, lost: tuple[list[str], list[str]] = ([], [])
) -> tuple[list[Path], list[Any]]:
    """(folders that were loaded, events) of a training on the base weights `a`."""
    loaded: list[Path] = []
    events: list[Any] = []

    def take_adapter(folder: Path) -> tuple[list[str], list[str]]:
        loaded.append(folder)
        return lost

    training: Any = SimpleNamespace(
        manifest={"model": "a"},
        trainer=SimpleNamespace(take_adapter=take_adapter, has_reference=True),
        session=SimpleNamespace(
            rundir=SimpleNamespace(start=Path("start")), events=SimpleNamespace(emit=events.append)
        ),
    )
    noted = {"typed": "run:sft", "run": "sft", "step": 40, "trained_on": trained_on, "sha256": {}}
    Training.start_from(training, noted, resumed)
    return loaded, events


def test_an_adapter_of_other_weights_is_refused() -> None:
    loaded, (event,) = begin("a")
    assert loaded == [Path("start")]
    assert "the adapter of run sft, step 40 is trained further" in event.text and "as it was" in event.text
    with pytest.raises(EngineError, match="trained on b, and the model is a"):
        begin("b")


def test_an_adapter_of_other_layers_is_refused() -> None:
    for lost, key in ((["x.lora_A"], []), "worker.adapter_lacks"), (([], ["x.lora_A"]), "worker.adapter_has_more"):
        with pytest.raises(EngineError) as caught:
            begin("a", lost=lost)
        assert [problem.key for problem in caught.value.problems] == [key] and "x.lora_A" in str(caught.value)


def test_a_resumed_run_needs_it_for_the_reference_and_says_nothing() -> None:
    assert begin("a", resumed=object()) == ([Path("start")], [])


def files(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    lora = presets.load("tiny-qlora", []).lora
    config = {"peft_type": "LORA", "r": lora.r, "lora_alpha": lora.alpha, **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return write_run(tmp_path / "outputs", "made", [])


def asked(adapter: str | Path) -> RunSpec:
    return presets.load("tiny-qlora", [f"model.adapter={adapter}"])


def test_what_is_kept_is_looked_at_before_anything_is_loaded(run: RunDir, tmp_path: Path) -> None:
    source = files(tmp_path / "source")
    noted = run.take_start(Origin(str(source), source))
    assert starting.kept(run, asked(source), resumed=False) == noted
    (run.start / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        starting.kept(run, asked(source), resumed=True)
    assert [problem.key for problem in caught.value.problems] == ["worker.start_damaged"]


def test_a_resumed_run_of_before_goes_on_without_a_second_adapter(run: RunDir, tmp_path: Path) -> None:
    assert starting.kept(run, asked(tmp_path / "gone"), resumed=True) is None
    assert starting.kept(run, presets.load("tiny-qlora", []), resumed=False) is None


def fetching(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        assert set(allow_patterns) == set(start_files.FILES)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))


def test_an_adapter_of_the_hub_is_fetched_once_with_its_commit(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching(monkeypatch, files(tmp_path / "snapshots" / "c0ffee"))
    noted = starting.kept(run, asked("somebody/adapter"), resumed=False)
    assert noted is not None and noted["revision"] == "c0ffee"
    assert str(start_files.message(noted)) == "somebody/adapter on the Hub, commit c0ffee"
    fetching(monkeypatch, OSError("no network"))
    assert starting.kept(run, asked("somebody/adapter"), resumed=False) == noted


def test_an_adapter_of_the_hub_that_cannot_be_had_or_does_not_fit_is_named(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer, key in (
        (OSError("no network"), "worker.adapter_not_fetched"),
        (tmp_path, "run.start_no_adapter"),
        (files(tmp_path / "other", r=3), "preflight.adapter_rank"),
    ):
        fetching(monkeypatch, answer)
        with pytest.raises(EngineError) as caught:
            starting.kept(run, asked("somebody/adapter"), resumed=False)
        assert [problem.key for problem in caught.value.problems] == [key]
    assert not run.start.exists()
