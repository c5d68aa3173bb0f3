"""Reward models of other runs in a reward: which checkpoint is meant, what is kept of it, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builders import began, publish
from trainer import launch, presets
from trainer.errors import RunError, SpecError
from trainer.run import judges, start_adapter
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import Component, Reward
from trainer.worker import starting

ADDED = '{ function = "reward_model", name = "judge", params = { model = "%s" } }'


def judge(name: str = "judge-1", method: str = "reward_model") -> RunDir:
    spec, plan = launch.prepare("tiny", [f"run.method={method}"])
    run = RunDir.create(outputs_dir(), name, spec, plan, {})
    evals = [
        {"kind": "eval", "at": at, "step": step, "correct_frac": share, "pairs": 40, "rows": 8}
        for at, step, share in (("before", 0, 0.5), ("during", 20, 0.9), ("after", 40, 0.8))
    ]
    events = [began(), *evals, {"kind": "run_finished", "step": 40}]
    run.events.write_text("".join(json.dumps({"t": 1.0, "attempt": 1} | event) + "\n" for event in events))
    publish(run, 20, 40)
    return run


def reward(*models: str) -> Reward:
    return Reward(
        components=[
            Component(function="reward_model", name=f"judge{n}", params={"model": model})
            for n, model in enumerate(models)
        ]
    )


def with_judge(model: str) -> list[str]:
    return [f"reward.components=[{{ function = 'exact_match', name = 'correct' }}, {ADDED % model}]".replace('"', "'")]


def made(model: str) -> RunDir:
    spec, plan = launch.prepare("tiny", with_judge(model))
    return launch.create("tiny", spec, plan, "made")


def key_of(typed: str) -> str:
    with pytest.raises(RunError) as caught:
        judges.resolve(typed, "reward.components.1.params.model")
    (problem,) = caught.value.problems
    assert problem.place == "reward.components.1.params.model"
    return problem.key


def test_which_checkpoint_is_meant() -> None:
    judge()
    for typed, step in (
        ("run:judge-1", 20),
        ("run:judge-1@best", 20),
        ("run:judge-1@latest", 40),
        ("run:judge-1@40", 40),
    ):
        assert judges.resolve(typed, "reward").step == step


def test_what_is_not_there_is_said_with_the_key() -> None:
    assert key_of("run:judge-1") == "run.judge_no_runs"
    judge()
    judge("policy-1", "sft")
    assert key_of("run:judge-2") == "run.start_no_run"
    assert key_of("run:judge-1@7") == "run.start_no_step"
    assert key_of("run:judge-1@newest") == "run.start_which"
    assert key_of("run:policy-1") == "run.judge_is_none"


def test_a_new_run_is_refused_before_it_is_made() -> None:
    judge("policy-1", "sft")
    with pytest.raises(SpecError) as caught:
        made("run:policy-1")
    assert [(p.place, p.key) for p in caught.value.problems] == [
        ("reward.components.1.params.model", "run.judge_is_none")
    ]
    assert not (outputs_dir() / "made").exists()


def test_a_run_keeps_the_reward_model_whatever_becomes_of_its_source() -> None:
    source = judge()
    run = made("run:judge-1")
    shutil.rmtree(source.path)
    (noted,) = judges.noted(run).values()
    assert (noted["run"], noted["step"]) == ("judge-1", 20)
    kept = {path.name for path in (run.judges / noted["folder"]).iterdir()}
    assert kept == {"model.safetensors"}  # what only a resume reads is left
    spec = run.read_spec()
    assert spec.reward.judges() == [("reward.components.1.params.model", "run:judge-1")]  # as it was typed
    now = starting.with_judges(run, spec).reward.components[1]
    assert now.params["model"] == str(run.judges / noted["folder"])
    assert str(judges.messages(run)[0]) == "run:judge-1 is run judge-1, step 20"


def test_a_file_that_has_changed_since_ends_the_run() -> None:
    judge()
    run = made("run:judge-1")
    (path,) = (run.judges / "1").iterdir()
    path.unlink()
    path.write_bytes(b"other")
    with pytest.raises(RunError, match="is not as it was when the run was made"):
        starting.with_judges(run, run.read_spec())


def test_a_run_that_was_moved_finds_them(tmp_path: Path) -> None:
    judge()
    run = made("run:judge-1")
    moved = RunDir(Path(shutil.move(run.path, tmp_path / "elsewhere")))
    model = starting.with_judges(moved, moved.read_spec()).reward.components[1].params["model"]
    assert Path(model).is_dir() and Path(model).is_relative_to(tmp_path)


def test_without_links_the_files_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuses(*args: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("trainer.run.judges.os.link", refuses)
    source = judge()
    run = made("run:judge-1")
    kept, was = run.judges / "1" / "model.safetensors", source.checkpoint(20) / "model.safetensors"
    assert kept.read_bytes() == was.read_bytes() and kept.stat().st_ino != was.stat().st_ino


def test_a_full_disk_leaves_no_run_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainer.run.judges.os.link", full)
    judge()
    with pytest.raises(RunError, match="no room to copy the reward model"):
        made("run:judge-1")
    assert [path.name for path in outputs_dir().iterdir()] == ["judge-1"]


def test_models_inside_sums_are_found_and_named_anew() -> None:
    inner = Component(function="reward_model", name="b", params={"model": "run:x"})
    whole = Reward(
        components=[Component(function="sum", name="s", components=[inner]), *reward("run:x", "other").components]
    )
    assert judges.typed_in(whole) == {"run:x": "reward.components.0.components.0.params.model"}
    named = whole.with_judges({"run:x": "/folder"})
    assert [name for _, name in named.judges()] == ["/folder", "/folder", "other"]
    assert whole.judges()[0][1] == "run:x"


def test_a_trial_without_a_run_takes_the_checkpoint_as_it_is() -> None:
    source = judge()
    assert judges.resolved(reward("run:judge-1")).judges()[0][1] == str(source.checkpoint(20))


def test_the_start_of_an_adapter_says_its_own_key() -> None:
    with pytest.raises(RunError) as caught:
        start_adapter.resolve("run:nobody")
    assert (caught.value.problems[0].key, caught.value.problems[0].place) == ("run.start_no_runs", "model.adapter")


def test_a_preset_without_stages_has_no_reward_model_of_one() -> None:
    with pytest.raises(SpecError) as caught:
        presets.load("tiny", with_judge("stage:helpful"))
    assert [problem.key for problem in caught.value.problems] == ["presets.judge_without_stages"]
