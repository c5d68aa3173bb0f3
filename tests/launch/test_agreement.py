"""What a resume goes on with: changed settings are refused by name, files are found where they lie now."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import publish
from trainer import launch, presets
from trainer.errors import RunError, TrainerError
from trainer.launch import agreement
from trainer.machine.json_files import read_json, write_json
from trainer.machine.project import PROJECT
from trainer.run import checkpoints, settings, spec_file
from trainer.run.records import CheckpointEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import files

ROWS = '{"prompt": "a", "answer": "b"}\n{"prompt": "c", "answer": "d"}\n'
REWARD = "def mine(completions, **columns):\n    return [0.0] * len(completions)\n"


def made(name: str = "tiny-1", *overrides: str) -> RunDir:
    """A run of the preset tiny that was made and never started."""
    spec = presets.load("tiny", ["optim.max_steps=4", *overrides])
    run = RunDir.create(outputs_dir(), name, spec, launch.plan_here(spec, 100), {"files": agreement.hashes(spec)})
    os.utime(run.spec, (1000, 1000))  # else it is just being started
    return run


def edit(run: RunDir, **keys: Any) -> None:
    """Change spec.json by hand: section__key=value."""
    raw = read_json(run.spec) or {}
    for key, value in keys.items():
        *way, last = key.split("__")
        here: Any = raw
        for step in way:
            here = here[int(step)] if step.isdigit() else here[step]
        here[last] = value
    replace(run, json.dumps(raw, indent=2).encode())


def replace(run: RunDir, content: bytes) -> None:
    run.spec.write_bytes(content)
    os.utime(run.spec, (1000, 1000))


def agreed(run: RunDir, *overrides: str, force: bool = False) -> list[str]:
    """The alerts of a resume that is agreed to, as if its worker had been started."""
    found = agreement.agree(run, overrides, force)
    found.write(run, 2)
    alerts = settings.word(run, 2)
    assert [alert.text for alert in alerts] == [alert.text for alert in found.alerts]
    return [f"{alert.key}: {alert.text}" for alert in alerts]


# -- settings


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"optim__learning_rate": 0.5},
            r"optim\.learning_rate: is 0\.5 in spec\.json; the run was trained with 0\.0003",
        ),
        ({"optim__max_steps": 400}, r"optim\.max_steps: is 400 .* with 4"),
        ({"run__seed": 7}, r"run\.seed: is 7 .* with 42"),
        ({"trl": {"steps_per_generation": 2}}, r"trl\.steps_per_generation: is 2 .* not set"),
        ({"reward__components__0__weight": 3.0}, r"reward\.components\.0\.weight: is 3\.0 .* with 1\.0"),
        ({"reward__components__1__params": {}}, r"reward\.components\.1\.params\.pattern: is not set .* with "),
        ({"data__prompt_template": "{prompt}!"}, r'data\.prompt_template: is "\{prompt\}!" '),
        ({"model__name": "builtin/tiny-korean"}, r'model\.name: is "builtin/tiny-korean"'),
        ({"lora__target_modules": ["q_proj"]}, r"lora\.target_modules: is \['q_proj'\] .* \"all-linear\""),
    ],
)
def test_a_changed_setting_is_refused_by_name_with_both_values(changed: dict[str, Any], said: str) -> None:
    run = made()
    edit(run, **changed)
    with pytest.raises(RunError, match=said) as caught:
        launch.resume(run)
    assert f"cp {run.spec_copy} {run.spec}" in str(caught.value) and "--force" in str(caught.value)
    assert not run.logs.joinpath("attempt_1.log").exists()
    with pytest.raises(RunError, match=said):
        launch.extend(run, 4)
    replace(run, run.spec_copy.read_bytes())  # what it says to type
    assert agreed(run) == []


def test_force_accepts_and_records_and_is_asked_once() -> None:
    run = made()
    edit(run, optim__learning_rate=0.5)
    (said,) = agreed(run, force=True)
    assert said.startswith("settings_forced: optim.learning_rate: 0.0003 -> 0.5: the run goes on")
    assert settings.any_rows(run) and settings.word(run, 3) == []
    assert agreed(run) == []
    assert not run.resume_note.exists() and run.read_spec().optim.learning_rate == 0.5


def test_what_a_checkpoint_brings_with_it_is_not_promised() -> None:
    run = made()
    publish(run, 1)
    edit(run, optim__weight_decay=0.5, optim__lr_scheduler_type="linear")
    assert [said for said in agreed(run, force=True) if said.startswith("settings_kept: optim.weight_decay: the ")]


def test_keys_that_do_not_decide_the_weights_are_only_said() -> None:
    run = made()
    edit(run, title="other", log__mirrors=["wandb"], checkpoint__save_total_limit=9, eval__max_rows=3)
    (said,) = agreed(run)
    assert said.startswith("settings_others: title: ") and "log.mirrors: [] -> ['wandb']" in said
    assert agreed(run) == []
    run.spec.write_text(json.dumps(read_json(run.spec)))
    assert agreed(run)[0].startswith("settings_respelt: ")


def test_without_its_copy_the_newest_manifest_is_asked() -> None:
    run = made()
    publish(run, 1)
    _publish_with_settings(run, 2)
    run.spec_copy.unlink()
    edit(run, optim__learning_rate=0.5, title="not in the manifest")
    with pytest.raises(RunError, match=r"optim\.learning_rate: is 0\.5 (.|\n)* put the former values back") as caught:
        launch.resume(run)
    assert len(caught.value.problems) == 2
    edit(run, optim__learning_rate=0.0003)
    assert agreed(run) == [] and run.spec_copy.is_file()
    launch.extend(run, 4)
    run.spec_copy.unlink()
    assert agreed(run) == []


def _publish_with_settings(run: RunDir, step: int) -> None:
    publish(run, step)
    path = run.checkpoint(step)
    manifest = checkpoints.read_manifest(path) | settings.recorded(run.read_spec())
    del manifest[checkpoints.SEAL]
    sealed = manifest | {checkpoints.SEAL: checkpoints._seal(manifest)}
    (path / checkpoints.MANIFEST).write_text(json.dumps(sealed, indent=1))


def test_the_hash_of_the_settings_is_of_what_decides_the_weights() -> None:
    def digest(*overrides: str) -> str:
        return str(settings.recorded(presets.load("tiny", overrides))["settings_sha256"])

    same = ["title=x", "log.rollouts=false", "eval.max_rows=3", "checkpoint.save_steps=7", "reward.workers=1"]
    assert digest(*same) == digest() == digest(f"data.path={PROJECT}/README.md")
    others = [
        "optim.learning_rate=1e-9",
        "trl.vllm_gpu_memory_utilization=0.3",
        "generation.top_p=0.9",
        "data.max_rows=9",
        "grpo.beta=0.1",
    ]
    assert len({digest(), *map(digest, others)}) == len(others) + 1


def test_every_bit_of_spec_json_that_flips_is_found() -> None:
    run = made()
    whole, dice = run.spec.read_bytes(), random.Random(1)
    for place in range(dice.randrange(29), len(whole), 29):
        run.spec.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :])
        try:
            assert settings.changes(run) or settings.respelt(run)
        except TrainerError as error:
            assert f"cp {run.spec_copy} {run.spec}" in str(error)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"model": {"name": 7}}', b"{}"])
def test_damaged_settings_say_how_to_put_them_right(content: bytes) -> None:
    run = made()
    replace(run, content)
    for ask in (lambda: launch.resume(run), lambda: launch.resume(run, force=True), lambda: launch.extend(run, 4)):
        with pytest.raises(RunError, match=r"damaged or changed, and cannot be read at .*  ->  cp "):
            ask()
    run.spec_copy.write_bytes(b"")
    with pytest.raises(RunError, match=r"not JSON any more|of another version"):
        launch.resume(run)


def test_a_longer_plan_is_no_change_wherever_it_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*args: object) -> None:
        raise KeyboardInterrupt

    run = made()
    for name in ("write_json", "agree"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(spec_file, name, cut)
            launch.extend(run, 4)
        assert agreed(run) == []
    launch.extend(run, 4)
    assert agreed(run) == []


def test_a_run_made_before_is_taken_as_it_is() -> None:
    run = made()
    run.spec_copy.unlink()
    write_json(run.spec, run.read_spec())  # absolute paths, no hashes
    write_json(run.env, {})
    publish(run, 1)
    assert agreed(run) == []
    assert (read_json(run.spec) or {})["data"]["path"] == "presets/data/reverse_train.jsonl"


# -- files


def own(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text(ROWS)
    (folder / "mine.py").write_text(REWARD)
    return [
        f"data.path={folder}/rows.jsonl",
        "data.eval_path=",
        "model.warm_start=",
        f"reward.components.0.file={folder}/mine.py",
        "reward.components.0.function=mine",
        "reward.components.0.params=",
    ]


def test_a_project_that_moved_finds_what_was_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made()
    moved = tmp_path / "renamed"
    (moved / "presets").mkdir(parents=True)
    shutil.copytree(PROJECT / "presets" / "data", moved / "presets" / "data")
    for module in (spec_file, agreement):
        monkeypatch.setattr(module, "PROJECT", moved)
    assert agreed(run) == []
    assert run.read_spec().data.path == str(moved / "presets/data/reverse_train.jsonl")
    edit(run, data__path="/gone/presets/data/reverse_train.jsonl")  # as older versions stored it
    shutil.copy(run.spec, run.spec_copy)
    assert [said.split(":")[0] for said in agreed(run)] == ["files_moved"]
    assert (read_json(run.spec) or {})["data"]["path"] == "presets/data/reverse_train.jsonl"
    os.remove(moved / "presets/data/reverse_train.jsonl")
    with pytest.raises(RunError, match=r"data\.path: there is no file .*--resume tiny-1 --set data\.path=FILE"):
        launch.resume(run)


def test_what_is_missing_is_said_at_once_and_can_be_named(tmp_path: Path) -> None:
    run = made("tiny-1", *own(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(RunError) as caught:
        launch.resume(run)
    assert {problem.where for problem in caught.value.problems} >= {"data.path", "reward.components.0.file"}
    there = [f"data.path={tmp_path}/there/rows.jsonl", f"reward.components.0.file={tmp_path}/there/mine.py"]
    (said,) = agreed(run, *there)
    assert said.startswith(f"files_moved: data.path: {tmp_path}/here/rows.jsonl -> {tmp_path}/there/rows.jsonl")
    assert run.read_spec().data.path == f"{tmp_path}/there/rows.jsonl"
    assert agreed(run) == []
    (tmp_path / "there" / "mine.py").write_text(REWARD + "# another\n")
    (tmp_path / "other.jsonl").write_text(ROWS + ROWS)
    moved, changed = agreed(run, f"data.path={tmp_path}/other.jsonl")
    assert moved.startswith("files_moved: ") and changed.startswith("files_changed: data.path: ")
    assert "reward.components.0.file: " in changed and "sha256" in changed
    assert settings.any_rows(run)
    assert agreed(run) == [] and not settings.any_rows(run)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "optim.learning_rate=1",
            r"--set optim\.learning_rate: a run goes on with its own settings: .*one of data\.path",
        ),
        ("data.few_shot.path=x", "goes on with its own settings"),
        ("reward.components.1.file=x.py", "goes on with its own settings"),
        ("model.name=other", "goes on with its own settings"),
        ("data.path=", "names none"),
        ("data.path=/no/such/file.jsonl", r"there is no file /no/such/file\.jsonl"),
        ("nonsense", "goes on with its own settings"),
    ],
)
def test_only_paths_that_the_run_has_can_be_set(tmp_path: Path, override: str, said: str) -> None:
    run = made("tiny-1", *own(tmp_path / "own"))
    before = run.spec.read_bytes()
    with pytest.raises(RunError, match=said):
        launch.resume(run, overrides=[override])
    assert run.spec.read_bytes() == before


def test_every_file_of_a_preset_is_known() -> None:
    tables = {"reward": {"components": [{"file": "a"}, {"components": [{"file": "b", "params": {"path": "no"}}]}]}}
    for *way, last in presets.FILE_KEYS:
        here: Any = tables
        for step in way:
            here = here.setdefault(step, {})
        here[last] = "c"
    found = dict(files.named(tables))
    assert set(found) == {
        *presets.FILE_KEYS,
        ("reward", "components", 0, "file"),
        ("reward", "components", 1, "components", 0, "file"),
    }


# -- what the worker says


def test_a_checkpoint_that_a_kill_left_unsaid_is_counted(make_run: Callable[..., RunDir]) -> None:
    from trainer.run.records import CheckpointEvent
    from trainer.worker.__main__ import _make_good
    from trainer.worker.session import Session

    run = make_run("tiny-1", {"kind": "run_started"}, {"kind": "checkpoint", "step": 1, "name": "checkpoint-1"})
    publish(run, 1, 2)
    told: list[Any] = []

    class Told:
        attempt = 2
        emit = staticmethod(told.append)

    session = Session(run, Told(), None)  # type: ignore[arg-type]
    _make_good(session, checkpoints.listed(run.checkpoints)[-1])
    ((event,),) = [[one for one in told if isinstance(one, CheckpointEvent)]]
    assert (event.step, event.name, event.verified) == (2, "checkpoint-2", True)
    assert event.bytes == checkpoints.size(run.checkpoint(2))


@pytest.mark.parametrize("content", ["", "{", '{"other": 1}\n', "\x00"])
@pytest.mark.parametrize("named", [True, False])
def test_rows_that_cannot_be_read_are_said_before_anything_is_set_aside(
    tmp_path: Path, content: str, named: bool
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(ROWS)
    run = made("tiny-1", *([] if named else [f"data.path={rows}"]))
    publish(run, 2, 4)
    before = run.spec.read_bytes()
    rows.write_text(content)
    with pytest.raises(TrainerError):
        launch.resume(run, "no.such.module", "2", overrides=[f"data.path={rows}"] if named else [])
    assert [checkpoint.step for checkpoint in checkpoints.listed(run.checkpoints)] == [2, 4]
    assert run.spec.read_bytes() == before and not run.log_file(1).exists()


def test_that_no_checkpoint_is_left_of_those_that_were_saved_is_said() -> None:
    run = made()
    publish(run, 2)
    saved = [CheckpointEvent(step=2), CheckpointEvent(step=4)]
    assert agreement.agree(run, [], False, saved).alerts == []
    shutil.rmtree(run.checkpoints)
    (alert,) = agreement.agree(run, [], False, saved).alerts
    assert (alert.level, alert.key) == ("warn", "checkpoints_gone")
    assert "checkpoint-2, checkpoint-4" in alert.text and "starts over at its first step" in alert.text
    assert agreement.agree(run, [], False).alerts == []  # one that never saved any starts where it began


def test_the_method_of_a_run_cannot_be_changed() -> None:
    run = made()
    edit(run, run__method="sft")
    with pytest.raises(RunError) as caught:
        agreement.agree(run, [], False)
    assert {"run.method"} <= {problem.place for problem in caught.value.problems}
    assert [problem.key for problem in caught.value.problems if problem.place == "run.method"] == [
        "run.setting_changed"
    ]


@pytest.mark.parametrize(("method", "refused"), [("rft", True), ("grpo", False)])
def test_what_is_right_cannot_be_changed_where_it_chooses_the_examples(method: str, refused: bool) -> None:
    run = made("tiny-1", f"run.method={method}")
    edit(run, reward__correct_at=0.5)
    if not refused:
        agreement.agree(run, [], False)
        return
    with pytest.raises(RunError, match=r"reward\.correct_at"):
        agreement.agree(run, [], False)
