"""Exports as processes of their own, what is known of them, and which of their files may be opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tryit.conftest import WAIT_S
from trainer.errors import ExportRefused
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir
from trainer.tryit import exporting


@pytest.mark.slow
def test_an_export_ends_with_files_and_one_that_fails_with_its_reason(run: RunDir) -> None:
    child = exporting.start(run, "merged", 2)
    (going,) = exporting.listed(run)
    assert (going.kind, going.step, going.state) == ("merged", 2, "running")
    with pytest.raises(ExportRefused, match="is being exported already"):
        exporting.start(run, "merged", 2)
    assert child.wait(WAIT_S) == 0
    (done,) = exporting.listed(run)
    assert (done.state, Path(done.where)) == ("done", run.exports / "merged-2")
    files = {file.name: file.bytes for file in exporting.finished(run)}
    assert {"model.safetensors", "config.json", "export.json", "README.md"} <= set(files)
    opened = exporting.opened(run, "merged-2", "model.safetensors")
    assert opened is not None
    with opened[0] as file:
        assert len(file.read()) == opened[1] == files["model.safetensors"]
    with pytest.raises(ExportRefused, match="exists already"):
        exporting.start(run, "merged", 2)
    assert exporting.start(run, "adapter", 2).wait(WAIT_S) == 2
    failed = exporting.listed(run)[0]
    assert failed.state == "failed"
    assert "there is no adapter" in failed.lines[-1]


@pytest.mark.parametrize(
    ("kind", "step", "repo", "told"),
    [
        ("zip", 2, None, "'zip' is not a kind of export"),
        ("--help", 2, None, "is not a kind of export"),
        ("merged", 9, None, "9 is not a checkpoint"),
        ("hub", 2, None, "is not USER/NAME"),
        ("hub", 2, "--public", "is not USER/NAME"),
        ("hub", 2, "me/my model", "is not USER/NAME"),
        ("hub", 2, "me/model", "there is no token"),
        ("gguf", 2, None, "convert_hf_to_gguf.py"),
    ],
)
def test_what_can_not_be_exported_is_refused_before_a_process_starts(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, step: int,
    repo: str | None, told: str,
) -> None:  # fmt: skip
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "LLAMA_CPP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UNSLOTH_LLAMA_CPP_PATH", str(tmp_path))
    exporting._missing.cache_clear()
    run = make_run()
    run.checkpoint(2).mkdir()
    with pytest.raises(ExportRefused) as caught:
        exporting.start(run, kind, step, repo)
    assert told in str(caught.value)
    assert exporting.listed(run) == []


def remember(run: RunDir, name: str, log: str, alive: bool = False) -> None:
    run.export_processes.mkdir(exist_ok=True)
    mine = Identity.mine().stored()
    write_json(run.export_processes / f"{name}.json", mine if alive else mine | {"pid_started": "1"})
    run.export_log(name).write_text(log)


def test_the_state_of_an_export_is_read_from_its_files(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    remember(run, f"{1:020d}-hub-5", "uploading\ntiny-1, step 5: https://huggingface.co/me/x/commit/1\n")
    remember(run, f"{2:020d}-gguf-5", "merging\n", alive=True)
    remember(run, f"{3:020d}-gguf-7", "merging\nerror: disk: is full\n")
    write_json(run.export_processes / "other.json", {})
    found = exporting.listed(run)
    assert [(one.kind, one.step, one.state) for one in found] == [
        ("gguf", 7, "failed"), ("gguf", 5, "running"), ("hub", 5, "done"),
    ]  # fmt: skip
    assert found[0].lines[-1] == "error: disk: is full"
    assert found[2].where == "https://huggingface.co/me/x/commit/1"


@pytest.mark.parametrize("head", ["tiny-1, step 5: ", "tiny-1, 5\uc2a4\ud15d: ", ""])
def test_where_an_export_is_does_not_depend_on_the_language_of_its_output(
    make_run: Callable[..., RunDir], head: str
) -> None:
    run = make_run()
    made = run.exports / "merged-5"
    remember(run, f"{1:020d}-merged-5", f"saving\n{head}{made}\n")
    remember(run, f"{2:020d}-hub-5", f"uploading to me/x\n{head}https://huggingface.co/me/x/commit/1\n")
    remember(run, f"{3:020d}-merged-5", f"saving\nerror: {made}: exists already  ->  delete it\n")
    failed, uploaded, merged = exporting.listed(run)
    assert (failed.state, uploaded.state, merged.state) == ("failed", "done", "done")
    assert (uploaded.where, merged.where) == ("https://huggingface.co/me/x/commit/1", str(made))


def test_only_so_many_exports_are_remembered_and_none_that_runs_is_forgotten(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    remember(run, f"{1:020d}-merged-1", "", alive=True)
    for number in range(2, 30):
        remember(run, f"{number:020d}-merged-{number}", "error: x\n")
    exporting._forget_old(run)
    left = sorted(path.stem for path in run.export_processes.iterdir())
    assert len(left) == exporting.KEEP + 1 and left[0] == f"{1:020d}-merged-1"
    assert len(list(run.logs.glob("export_*.log"))) == exporting.KEEP + 1


@pytest.fixture
def filled(make_run: Callable[..., RunDir], tmp_path: Path) -> RunDir:
    """Exports with everything in them that must not be served."""
    run = make_run()
    good = run.exports / "merged-2"
    good.mkdir(parents=True)
    (good / "model.safetensors").write_bytes(b"weights")
    (good / ".hidden").write_text("no")
    (good / "inner").mkdir()
    (good / "inner" / "file").write_text("no")
    (good / "link").symlink_to(run.spec)
    os.mkfifo(good / "pipe")
    (run.exports / ".exporting-merged-3-1-ab").mkdir()
    (run.exports / ".exporting-merged-3-1-ab" / "model.safetensors").write_text("no")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("no")
    (run.exports / "linked").symlink_to(elsewhere)
    (run.exports / "file").write_text("no")
    return run


REFUSED = [
    ("merged-2", ".hidden"),
    ("merged-2", "inner"),
    ("merged-2", "inner/file"),
    ("merged-2", "link"),
    ("merged-2", "pipe"),
    ("merged-2", ".."),
    ("merged-2", ""),
    ("merged-2", "nothing"),
    ("merged-2", "../../spec.json"),
    ("merged-2", "model.safetensors\0"),
    ("..", "spec.json"),
    (".", "file"),
    ("", "file"),
    ("linked", "secret"),
    ("/etc", "passwd"),
    (".exporting-merged-3-1-ab", "model.safetensors"),
]


@pytest.mark.parametrize(("folder", "name"), REFUSED)
def test_nothing_but_files_of_exports_is_opened(filled: RunDir, folder: str, name: str) -> None:
    assert exporting.opened(filled, folder, name) is None


def test_only_what_can_be_downloaded_is_listed(filled: RunDir, tmp_path: Path) -> None:
    assert exporting.finished(filled) == [exporting.File("merged-2", "model.safetensors", 7)]
    real = filled.exports.rename(tmp_path / "moved")
    filled.exports.symlink_to(real)
    assert exporting.finished(filled) == []
    assert exporting.opened(filled, "merged-2", "model.safetensors") is None
