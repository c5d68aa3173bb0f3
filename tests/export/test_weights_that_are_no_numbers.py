"""No export is made of NaN or inf, and nobody talks to them: the weights are named, the checkpoint's or the base's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.export.conftest import make_spec, new_run
from trainer.errors import EngineError, ExportError
from trainer.export import export
from trainer.export import source as sources
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.text import Message
from trainer.tryit.chat import Chat


def silent(line: Message | str) -> None:
    pass


def spoiled(file: Path, value: float) -> str:
    """Put the value into one weight of the file; its name."""
    stored = load_file(file)
    name = sorted(name for name, tensor in stored.items() if tensor.dim() == 2)[0]
    stored[name][1, 2] = value
    save_file(stored, file, {"format": "pt"})
    return name


def with_checkpoint(runs: Path, name: str, outputs: Path, value: float) -> RunDir:
    """The run again with one weight of its checkpoint spoiled, published as any other."""
    rundir = new_run(outputs, name, RunDir(runs / name).read_spec())
    staged = outputs / "checkpoint-2"
    shutil.copytree(RunDir(runs / name).checkpoint(2), staged)
    file = next(path for path in staged.glob("*model.safetensors"))
    spoiled(file, value)
    facts = checkpoints.read_manifest(staged)
    facts = {key: facts[key] for key in ("step", "run", "model", "data", "versions")}
    checkpoints.publish(staged, rundir.checkpoints, facts)
    return rundir


@pytest.mark.parametrize(("name", "kinds"), [("lora", ["adapter", "merged"]), ("whole", ["merged"])])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_of_a_checkpoint_are_named_by_every_export_and_by_a_chat(
    runs: Path, tmp_path: Path, name: str, kinds: list[str], value: float
) -> None:
    rundir = with_checkpoint(runs, name, tmp_path, value)
    for kind in kinds:
        with pytest.raises(ExportError, match=r"checkpoint-2: 1 of its weights hold NaN or inf: .*--checkpoint N"):
            export(rundir, kind, say=silent)
    assert not list(rundir.exports.glob("*"))
    with pytest.raises(ExportError, match="1 of its weights hold NaN or inf"):
        Chat(sources.find(rundir, None, silent)).load()


def test_weights_of_the_base_are_named_as_the_bases(runs: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(RunDir(runs / "lora").read_spec().model.name, base)
    name = spoiled(base / "model.safetensors", float("inf"))
    rundir = new_run(tmp_path / "outputs", "lora", make_spec({"name": str(base)}))
    shutil.copytree(RunDir(runs / "lora").checkpoint(2), rundir.checkpoint(2))
    for act in (lambda: export(rundir, "merged", say=silent), Chat(sources.find(rundir, None, silent)).load):
        with pytest.raises(EngineError, match="hold NaN or inf") as error:
            act()
        assert name.removeprefix("model.") in str(error.value) and error.value.problems[0].place == "model.name"


def test_rollouts_that_are_damaged_are_no_reason_to_fail(runs: Path, tmp_path: Path) -> None:
    """What an export is verified with: prompts of the newest rollouts, random tokens where there are none."""
    shutil.copytree(runs / "lora", tmp_path / "lora")
    rundir = RunDir(tmp_path / "lora")
    group = '{"outcome": "spread", "prompt": %s, "completions": [{"text": "x"}]}\n'
    for prompt in ("null", "7", "[]", "[7]", '[{"role": "user"}]', '{"a": 1}'):
        rundir.rollouts_file(1).write_text(group % prompt)
        (rundir.rollouts / "step_000001 (copy).jsonl").write_text(group % '"x"')
        assert sources.find(rundir, None, silent).prompts(4) == []
    rundir.rollouts_file(2).mkdir()
    assert sources.find(rundir, None, silent).prompts(4) == []
