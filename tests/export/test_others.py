"""Adapter, GGUF, Hub and the command: what is written, what is refused, and with which exit code."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import seal
from tests.export.conftest import make_spec, new_run
from trainer import launch
from trainer.__main__ import main
from trainer.errors import CheckpointError, ExportError, ExportRefused, RunError
from trainer.export import export, gguf, staging
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.events import EventWriter
from trainer.run.records import RunFinishedEvent
from trainer.run.rundir import RunDir
from trainer.text import Message

Capture = pytest.CaptureFixture[str]
CONVERTER = """
import json, pathlib, struct, sys
if "--help" in sys.argv: sys.exit(0)
folder, out, kind = pathlib.Path(sys.argv[1]), sys.argv[3], sys.argv[5]
assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
assert (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file()
open(out, "wb").write(b"GGUF" + struct.pack("<IQ", 3, TENSORS) + kind.encode())
"""
QUANTIZER = (
    "#!{python}\nimport sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read() + sys.argv[3].encode())"
)


def silent(line: Message | str) -> None:
    pass


def test_an_adapter_loads_with_peft_and_with_transformers(runs: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rundir = RunDir(runs / "lora")
    base = rundir.read_spec().model.name
    made = export(rundir, "adapter", out=tmp_path / "a", say=silent)
    ids = torch.tensor([[1, 4, 70, 71, 72, 2, 5]])

    def answer(model: Any) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.eval()(input_ids=ids).logits
        return found

    wanted = answer(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), rundir.checkpoint(2)))
    plain = AutoModelForCausalLM.from_pretrained(base)
    assert torch.equal(answer(PeftModel.from_pretrained(plain, made.path)), wanted)
    plain = AutoModelForCausalLM.from_pretrained(base)
    plain.load_adapter(str(made.path))
    assert torch.equal(answer(plain), wanted)
    assert AutoTokenizer.from_pretrained(made.path).eos_token == "<end>"


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_the_reference_in_a_checkpoint_is_in_no_export(runs: Path, tmp_path: Path, kind: str) -> None:
    rundir = RunDir(Path(shutil.copytree(runs / "lora", tmp_path / "lora")))
    folder = rundir.checkpoint(2)
    (folder / "ref").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(folder / name, folder / "ref" / name)
    seal(folder, "ref/adapter_config.json", "ref/adapter_model.safetensors")
    made = export(rundir, kind, out=tmp_path / "out", say=silent)
    plain = export(RunDir(runs / "lora"), kind, out=tmp_path / "plain", say=silent)
    assert not list(made.path.rglob("ref*")) and list(made.facts["weights"]) == ["adapter_model.safetensors"]
    for path in plain.path.glob("*.safetensors"):
        assert (made.path / path.name).read_bytes() == path.read_bytes()


def test_an_adapter_is_only_what_others_need_and_says_how_to_get_its_base(runs: Path, tmp_path: Path) -> None:
    made = export(RunDir(runs / "nf4"), "adapter", out=tmp_path / "a", say=silent)
    names = {path.name for path in made.path.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"} <= names
    assert not names & {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "MANIFEST.json"}
    config = json.loads((made.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "builtin/tiny-qwen3"
    card = (made.path / "README.md").read_text()
    assert "export RUN --to merged" in card
    assert "base_model:" not in card
    assert "load_in_4bit=True" in card


def test_an_adapter_of_a_hub_model_names_it_with_its_commit(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "lora", tmp_path / "lora")
    rundir = RunDir(tmp_path / "lora")
    rundir.spec.write_text(make_spec({"name": "someone/model"}).model_dump_json())
    config = rundir.checkpoint(2) / "adapter_config.json"
    edit(config, {"base_model_name_or_path": "someone/model"})
    seal(rundir.checkpoint(2), "adapter_config.json", model="someone/model@abc123")
    made = export(rundir, "adapter", say=silent)
    written = json.loads((made.path / "adapter_config.json").read_text())
    assert (written["base_model_name_or_path"], written["revision"]) == ("someone/model", "abc123")
    card = (made.path / "README.md").read_text()
    assert "base_model: someone/model\n" in card
    assert 'from_pretrained("someone/model", revision="abc123")' in card


def edit(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_newest_checkpoint_that_verifies_is_taken_and_a_damaged_one_asked_for_is_refused(
    runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "lora", tmp_path / "lora")
    rundir = RunDir(tmp_path / "lora")
    shutil.copytree(rundir.checkpoint(2), rundir.checkpoint(9))
    seal(rundir.checkpoint(9), step=9)
    (rundir.checkpoint(9) / "adapter_model.safetensors").write_bytes(b"")
    told: list[Message | str] = []
    made = export(rundir, "adapter", say=told.append)
    assert made.path.name == "adapter-2"
    assert str(told[0]).startswith("checkpoint-9: skipped, adapter_model.safetensors has 0 bytes")
    with pytest.raises(CheckpointError, match="checkpoint-9: adapter_model"):
        export(rundir, "adapter", checkpoint="9", say=silent)
    with pytest.raises(RunError, match=r"'3' is not a checkpoint of this run  ->  best, latest, or one of 2, 9"):
        export(rundir, "adapter", checkpoint="3", say=silent)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere", "--to", "adapter"], 2, "there is no such run"),
        (["bare", "--to", "merged"], 2, "has no checkpoint"),
        (
            ["lora", "--to", "merged", "--checkpoint", "best"],
            2,
            "no checkpoint of run lora was evaluated on held-out rows  ->  latest, or one of 2",
        ),
        (["whole", "--to", "adapter"], 2, "trained whole weights (lora.enabled = false): there is no adapter"),
        (["lora", "--to", "gguf"], 2, "convert_hf_to_gguf.py: is a tool of llama.cpp, and it is not in $LLAMA_CPP"),
        (["lora", "--to", "gguf", "--quant", "q4_k_m"], 2, "llama-quantize: is a tool of llama.cpp, and it is not in"),
        (["lora", "--to", "gguf", "--quant", "q4_k_x"], 2, "'q4_k_x' is not known here  ->  one of q4_k_"),
        (["lora", "--to", "hub", "--repo", "me/model"], 2, "there is no token for the Hugging Face Hub"),
        (["lora", "--to", "hub"], 2, "--repo: is missing: the repository to upload to"),
        (["lora", "--to", "merged", "--quant", "q8_0"], 2, "--quant: does not apply to --to merged  ->  leave it out"),
        (["lora", "--to", "adapter", "--repo", "me/model"], 2, "--repo: does not apply to --to adapter"),
        (["lora", "--to", "adapter", "--dtype", "float32"], 2, "leave it out, or --to merged or --to hub"),
        (["lora", "--to", "gguf", "--public"], 2, "--public: does not apply to --to gguf"),
        (["lora", "--to", "gguf", "--private"], 2, "--private: does not apply to --to gguf"),
        (["lora", "--to", "merged", "--upload", "adapter"], 2, "--upload: does not apply to --to merged"),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_type_and_nothing_is_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    if not (runs / "bare").exists():
        new_run(runs, "bare", make_spec({"name": "builtin/tiny-qwen3"}))
    assert main(["export", *arguments]) == code
    printed = capsys.readouterr()
    assert told in printed.err
    assert all(line.startswith("error: ") for line in printed.err.splitlines())
    assert printed.out == ""
    assert [path for path in runs.rglob("*") if "export" in path.name] == []


def test_the_command_prints_where_the_export_is_and_refuses_to_write_it_twice(
    runs: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "weights"
    command = ["export", "whole", "--to", "merged", "--checkpoint", "2", "--dtype", "float32", "--out", str(out)]
    assert main(command) == launch.EXIT_FINISHED
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("verified: ")
    assert printed[-1] == f"whole, step 2: {out}"
    before = sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir())
    assert main(command) == launch.EXIT_INPUT
    assert "exists already" in capsys.readouterr().err
    assert sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir()) == before


def test_the_command_ends_with_1_when_the_work_fails(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("trainer.export.verify.MAX_ABS_DIFF", 0.0)
    assert main(["export", "whole", "--to", "merged", "--out", str(tmp_path / "m")]) == launch.EXIT_FAILED
    assert "error: verification: " in capsys.readouterr().err


def llama_cpp(folder: Path, tensors: int = 1, quantizer: bool = True) -> Path:
    """A folder as llama.cpp's, with tools that check what they are given and write a GGUF header."""
    (folder / "build/bin").mkdir(parents=True)
    (folder / gguf.CONVERTER).write_text(CONVERTER.replace("TENSORS", str(tensors)))
    if quantizer:
        tool = folder / "build/bin" / gguf.QUANTIZER
        tool.write_text(QUANTIZER.format(python=sys.executable))
        tool.chmod(0o755)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for llama-quantize is a script")
def test_gguf_files_are_made_by_llama_cpp_with_a_modelfile_each(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP", str(llama_cpp(tmp_path / "llama.cpp")))
    made = export(RunDir(runs / "nf4"), "gguf", out=tmp_path / "g", quants=["Q8_0", "q4_k_m"], say=silent)
    assert {path.name for path in made.path.iterdir()} == {
        *("Modelfile", "Modelfile-q4_k_m", "README.md", "export.json"),
        *("nf4-2-q8_0.gguf", "nf4-2-q4_k_m.gguf"),
    }
    assert (made.path / "nf4-2-q8_0.gguf").read_bytes()[16:] == b"q8_0"
    assert (made.path / "nf4-2-q4_k_m.gguf").read_bytes()[16:] == b"bf16Q4_K_M"
    lines = (made.path / "Modelfile").read_text().splitlines()
    assert lines == ["FROM ./nf4-2-q8_0.gguf", 'PARAMETER stop "<end>"', "PARAMETER temperature 1.0"]
    assert made.facts["verified"]["saved_max_abs_diff"] < 1e-3


@pytest.mark.parametrize("broken", ["no tensors", "crash"])
def test_a_converter_that_fails_leaves_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    tools = llama_cpp(tmp_path / "tools", tensors=0)
    if broken == "crash":
        text = "import sys\nif '--help' not in sys.argv: sys.exit('Model Qwen9 is not supported')"
        (tools / gguf.CONVERTER).write_text(text)
    monkeypatch.setenv("LLAMA_CPP", str(tools))
    with pytest.raises(ExportError, match="not a GGUF file with tensors" if broken != "crash" else "Qwen9 is not sup"):
        export(RunDir(runs / "lora"), "gguf", out=tmp_path / "g", say=silent)
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_a_converter_without_its_packages_is_refused_before_anything_is_loaded(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / gguf.CONVERTER).write_text("import gguf_of_another_world")
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    with pytest.raises(ExportRefused, match=r"No module named 'gguf_of_another_world'.*requirements\.txt"):
        export(RunDir(runs / "lora"), "gguf", out=tmp_path / "g", say=silent)


def test_a_run_without_a_checkpoint_is_told_what_can_still_be_done(runs: Path, tmp_path: Path) -> None:
    rundir = new_run(tmp_path / "outputs", "mine", make_spec({"name": "builtin/tiny-qwen3"}))
    with pytest.raises(RunError, match=r"run mine: has no checkpoint in .* --resume mine"):
        export(rundir, "merged", say=silent)
    this_process = Identity.of(os.getpid())
    assert this_process
    write_json(rundir.identity, this_process.stored() | {"attempt": 1})
    with pytest.raises(RunError, match=r"is starting and has no checkpoint in .* yet  ->  wait"):
        export(rundir, "merged", say=silent)
    with EventWriter(rundir.events, 1) as events:
        events.emit(RunFinishedEvent(step=2))
    with pytest.raises(RunError, match=r"is finished and has no checkpoint in .* train again with --preset"):
        export(rundir, "merged", say=silent)


@pytest.mark.parametrize("kind", ["adapter", "merged"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_target_that_can_not_be_made_is_one_line_without_the_hidden_folder(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, kind: str, number: int
) -> None:
    mkdir = Path.mkdir

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name.startswith(staging.PREFIX):
            raise OSError(number, os.strerror(number), str(self))
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    out = tmp_path / "new" / "x"
    assert main(["export", "lora", "--to", kind, "--out", str(out)]) == launch.EXIT_INPUT
    said = capsys.readouterr()
    fix = "--out FOLDER in a place that can be written"
    assert said.err == f"error: {out}: cannot be made: {os.strerror(number)}  ->  {fix}\n"
    assert not out.parent.exists()


def test_a_target_below_a_file_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportRefused, match=r"file.x: cannot be made: "):
        export(RunDir(runs / "lora"), "adapter", out=tmp_path / "file" / "x", say=silent)


def test_a_disk_that_fails_while_the_export_is_written_is_named_by_the_target(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(target))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(ExportError, match=r"x: cannot be written: Input/output error") as raised:
        export(RunDir(runs / "lora"), "adapter", out=tmp_path / "x", say=silent)
    assert staging.PREFIX not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


class Hub:
    """Stands in for HfApi: remembers what is asked of it."""

    def __init__(self, private: bool = True, error: Exception | None = None) -> None:
        self.private, self.error = private, error
        self.calls: list[tuple[str, Any]] = []

    def __call__(self, token: str) -> Hub:
        self.token = token
        return self

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create", (repo, private, exist_ok)))

    def repo_info(self, repo: str) -> Any:
        return type("Info", (), {"private": self.private})

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        if self.error:
            raise self.error
        self.calls.append(("upload", (repo_id, sorted(os.listdir(folder_path)), commit_message)))
        return type("Commit", (), {"commit_url": "https://hub/me/model/commit/1"})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    def make(**options: Any) -> Hub:
        made = Hub(**options)
        monkeypatch.setattr("huggingface_hub.HfApi", made)
        monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
        return made

    return make


def test_an_upload_is_private_and_holds_the_export(
    runs: Path, tmp_path: Path, hub: Callable[..., Hub], capsys: Capture
) -> None:
    api = hub()
    command = ["export", "lora", "--to", "hub", "--repo", "me/model", "--out", str(tmp_path / "a")]
    assert main(command) == launch.EXIT_FINISHED
    first = capsys.readouterr()
    assert "https://hub/me/model/commit/1" in first.out
    assert "hf_secret" not in first.out + first.err
    (_, created), (_, (repo, files, label)) = api.calls
    assert created == ("me/model", True, True)
    assert (repo, label) == ("me/model", "lora, step 2")
    assert "adapter_model.safetensors" in files
    assert main(command) == launch.EXIT_FINISHED  # the export that is there is uploaded again
    assert main([*command, "--public"]) == launch.EXIT_FINISHED
    assert api.calls[-2] == ("create", ("me/model", False, True))
    assert main([*command, "--upload", "merged"]) == launch.EXIT_INPUT
    assert "holds another export (other kind)" in capsys.readouterr().err
    assert main([*command, "--dtype", "float32"]) == launch.EXIT_INPUT
    assert "--dtype: applies to merged weights only, and the adapter is uploaded" in capsys.readouterr().err


def test_nothing_private_goes_into_a_repository_that_is_public(
    runs: Path, tmp_path: Path, hub: Callable[..., Hub]
) -> None:
    api = hub(private=False)
    with pytest.raises(ExportRefused, match="exists and is public"):
        export(RunDir(runs / "lora"), "hub", repo="me/model", out=tmp_path / "a", say=silent)
    assert [name for name, _ in api.calls] == ["create"]


def test_a_failed_upload_keeps_the_export_and_never_shows_the_token(
    runs: Path, tmp_path: Path, hub: Callable[..., Hub]
) -> None:
    hub(error=OSError("connection lost with hf_secret"))
    with pytest.raises(ExportError, match=r"connection lost with \*\*\*  ->  the export is complete") as raised:
        export(RunDir(runs / "lora"), "hub", repo="me/model", out=tmp_path / "a", say=silent)
    assert "hf_secret" not in repr(raised.value)
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()


def test_what_a_killed_export_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("old", 2 * 24 * 3600), ("new", 60)):
        left = tmp_path / f"{staging.PREFIX}{name}"
        left.mkdir()
        os.utime(left, (left.stat().st_mtime - age_s,) * 2)
    with staging.staged(tmp_path / "target"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {f"{staging.PREFIX}new", "target"}
