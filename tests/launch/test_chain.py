"""Stages of a run: the next is made once, from the right checkpoint, whoever looks and whenever somebody was killed."""

from __future__ import annotations

import functools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builders import began, evaluated, finished, publish
from trainer import launch
from trainer.errors import DataError, RunError
from trainer.launch import chain
from trainer.machine.project import PROJECT
from trainer.run import best
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import state_of


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of runs that were started; of each there is a log then, as of one that works."""
    found: list[str] = []

    def start(rundir: RunDir, *args: Any, **kwargs: Any) -> None:
        found.append(rundir.name)
        rundir.log_file(rundir.newest_attempt() + 1).write_text("")

    monkeypatch.setattr(chain, "start", start)
    monkeypatch.setattr("trainer.preflight.check", lambda *_: None)  # the weights of these checkpoints are none
    return found


prepared = functools.cache(launch.prepare)  # reads the rows, the same for every test


def first(*overrides: str, name: str | None = "demo") -> RunDir:
    return launch.create("tiny-stages", *prepared("tiny-stages", overrides), name)


def write(run: RunDir, events: list[dict[str, Any]]) -> None:
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | event) for n, event in enumerate(events)]
    run.events.write_text("".join(f"{line}\n" for line in lines))


def end(run: RunDir) -> None:
    """Finished, with the best evaluation in the middle."""
    events = finished(40)
    write(run, [*events[:-2], evaluated(20, 0.9), evaluated(40, 0.5, "after"), events[-1]])
    publish(run, 20, 40)


def test_a_run_says_which_stage_it_is() -> None:
    assert first().name == "demo.1-sft"
    assert first(name=None).name == "tiny-stages-1.1-sft"
    assert first(name=None).name == "tiny-stages-2.1-sft"


def test_the_next_stage_starts_from_the_best_checkpoint(started: list[str]) -> None:
    run = first()
    end(run)
    after = chain.go_on(run)
    assert after is not None and started == ["demo.2-grpo"]
    spec = after.read_spec()
    assert spec.model.name == str(run.checkpoint(20)) and spec.run.method == "grpo"
    assert spec.chain is not None and (spec.chain.number, spec.chain.following) == (2, [])


def test_or_from_the_last(started: list[str]) -> None:
    run = first("stage.1.from=last")
    end(run)
    after = chain.go_on(run)
    assert after is not None and after.read_spec().model.name == str(run.checkpoint(40))


def test_nothing_is_started_before_its_time(started: list[str]) -> None:
    run = first()
    write(run, [began(), evaluated(0, 0.1, "before")])
    assert chain.go_on(run) is None
    write(run, [began(), {"kind": "run_stopped", "step": 20}])
    assert chain.go_on(run) is None
    assert started == [] and chain.newest(outputs_dir(), "demo") == run


def test_it_is_made_once_whoever_looks(started: list[str]) -> None:
    run = first()
    end(run)
    assert chain.go_on(run) == chain.go_on(run) == chain.newest(outputs_dir(), "demo")
    assert started == ["demo.2-grpo"]


def test_one_that_was_made_and_never_started_is_started(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = first()
    end(run)

    def killed(rundir: RunDir, **_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chain, "start", killed)
        with pytest.raises(KeyboardInterrupt):
            chain.go_on(run)
    after = chain.go_on(run)
    assert after is not None and started == [after.name]


def test_after_the_last_stage_there_is_none(started: list[str]) -> None:
    run = first()
    end(run)
    after = chain.go_on(run)
    assert after is not None
    write(after, finished(40))
    assert chain.go_on(after) is None and chain.following(after) is None


def test_a_run_without_stages_has_none(make_run: Any) -> None:
    run = make_run("alone")
    assert chain.following(run) is None and chain.go_on(run) is None


def test_names_that_only_begin_alike_are_no_stages(started: list[str], make_run: Any) -> None:
    make_run("demo.9-other")
    assert chain.newest(outputs_dir(), "demo") is None
    assert chain.newest(outputs_dir(), "dem") is None


def test_the_best_is_what_the_report_calls_best(started: list[str]) -> None:
    run = first()
    end(run)
    found = best.find_best(run, state_of(run))
    after = chain.go_on(run)
    assert found is not None and after is not None
    assert Path(after.read_spec().model.name).name == f"checkpoint-{found.step}"


def test_a_stage_that_is_being_made_keeps_the_queue_waiting(started: list[str]) -> None:
    run = first()
    end(run)
    assert launch.queue.going(outputs_dir()) == [run.name]
    assert chain.go_on(run) is not None
    assert run.name not in launch.queue.going(outputs_dir())


def test_a_run_that_was_extended_goes_on_itself(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = first()
    end(run)
    monkeypatch.setattr(chain, "more_is_asked", lambda *_: True)
    assert chain.go_on(run) is None and started == []


def test_what_a_later_stage_starts_from_is_not_deleted(started: list[str]) -> None:
    run = first()
    end(run)
    after = chain.go_on(run)
    assert after is not None
    with pytest.raises(RunError, match=r"demo\.2-grpo goes on from a checkpoint"):
        launch.delete(run)
    write(after, finished(40))
    launch.delete(run)
    assert not run.path.exists()


def test_a_name_is_short_enough_for_every_stage() -> None:
    with pytest.raises(RunError, match=r"\.2-grpo"):
        first(name="x" * 58)
    assert first(name="x" * 57).name.endswith(".1-sft")


def without_rows(tmp_path: Path) -> tuple[RunDir, Path]:
    """A first stage that has finished, and its rows, which lie elsewhere now."""
    rows = Path(shutil.copy(PROJECT / "presets" / "data" / "reverse_train.jsonl", tmp_path / "rows.jsonl"))
    run = first(f"data.path={rows}")
    end(run)
    return run, rows.rename(tmp_path / "elsewhere.jsonl")


def held(run: RunDir) -> chain.Held | None:
    state = state_of(run)
    return chain.held(run, launch.status_of(run), state)


def test_why_a_stage_could_not_be_started_is_known_until_it_is(started: list[str], tmp_path: Path) -> None:
    run, now = without_rows(tmp_path)
    with pytest.raises(DataError):
        chain.go_on(run)
    found = held(run)
    assert found is not None and found.stage.rundir.name == "demo.2-grpo" and started == []
    assert [problem.place for problem in found.reasons] == ["data.path"] and "rows.jsonl" in found.reasons[0].what
    launch.take_paths(run, [f"data.path={now}"])
    after = chain.go_on(run)
    assert after is not None and after.read_spec().data.path == str(now) and started == ["demo.2-grpo"]
    assert chain.refused(run) == [] and held(run) is None


def test_one_that_nobody_tried_is_missed_a_while_later(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = first()
    end(run)
    found = held(run)
    assert found is not None and found.reasons == []  # the events of these tests are of 1970
    final = state_of(run).final
    assert final is not None
    monkeypatch.setattr(time, "time", lambda: final.t + chain.STARTED_WITHIN_S - 1)
    assert held(run) is None


def test_one_that_waits_in_the_queue_is_not_missed(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.queue, "tend", lambda *_: None)
    run = first()
    end(run)
    after = chain.go_on(run, launch.queue.add)
    assert after is not None and launch.queue.waiting(outputs_dir()) == [after] and started == []
    assert held(run) is None
    launch.queue.remove(after)
    assert held(run) is not None


def test_all_stages_are_known_whichever_is_looked_at(started: list[str]) -> None:
    run = first()
    end(run)
    before = chain.stages(run, run.read_spec())
    after = chain.go_on(run)
    assert after is not None
    assert before == chain.stages(run, run.read_spec()) == chain.stages(after, after.read_spec())
    assert [(one.number, one.name, one.method, one.rundir.name) for one in before] == [
        (1, "sft", "sft", "demo.1-sft"),
        (2, "grpo", "grpo", "demo.2-grpo"),
    ]


def test_a_run_alone_is_no_stage(make_run: Any) -> None:
    run = make_run("alone")
    assert chain.stages(run, run.read_spec()) == [] and held(run) is None


# ---- with reward models among the stages


def two_stages(name: str = "two") -> RunDir:
    return launch.create("tiny-two-stages", *prepared("tiny-two-stages", ()), name)


def end_judge(run: RunDir) -> None:
    events = [{"kind": "eval", "at": "during", "step": step, "correct_frac": share, "pairs": 9, "rows": 8}
              for step, share in ((20, 0.9), (40, 0.8))]  # fmt: skip
    write(run, [began(), *events, {"kind": "run_finished", "step": 40}])
    publish(run, 20, 40)


def next_of(run: RunDir) -> RunDir:
    after = chain.go_on(run)
    assert after is not None
    return after


def three_ended() -> tuple[RunDir, RunDir, RunDir]:
    reasoning = two_stages()
    end(reasoning)
    helpful = next_of(reasoning)
    end_judge(helpful)
    harmless = next_of(helpful)
    end_judge(harmless)
    return reasoning, helpful, harmless


def test_stages_start_from_the_newest_policy_and_are_rewarded_by_what_was_trained(started: list[str]) -> None:
    reasoning, helpful, harmless = three_ended()
    general = next_of(harmless)
    assert started == ["two.2-helpful", "two.3-harmless", "two.4-general"]
    specs = [each.read_spec() for each in (helpful, harmless, general)]
    assert {spec.model.name for spec in specs} == {str(reasoning.checkpoint(20))}
    assert [name for _, name in specs[2].reward.judges()] == ["run:two.2-helpful", "run:two.3-harmless"]
    noted = json.loads(general.env.read_text())["judges"]
    assert [(said["run"], said["step"]) for said in noted.values()] == [("two.2-helpful", 20), ("two.3-harmless", 20)]
    assert specs[2].chain is not None and specs[2].chain.earlier == ["reasoning", "helpful", "harmless"]


def test_before_the_first_policy_a_stage_starts_as_the_first_would(started: list[str]) -> None:
    from trainer import presets

    raw = presets.tables(presets.find("tiny-two-stages"))
    raw["stage"] = [dict(raw["stage"][1]), dict(raw["stage"][2])]
    spec = presets.parse(raw, "test")
    run = launch.create("judges", spec, launch.plan_here(spec, 1024), "judges")
    end_judge(run)
    after = next_of(run).read_spec()
    assert after.model == spec.model and after.model.warm_start is not None


def test_what_a_stage_that_waits_will_need_is_not_deleted(started: list[str]) -> None:
    reasoning = two_stages()
    end(reasoning)
    helpful = next_of(reasoning)
    end_judge(helpful)
    harmless = next_of(helpful)
    for needed in (reasoning, helpful):
        with pytest.raises(RunError, match=r"two\.3-harmless"):
            launch.delete(needed)
    write(harmless, [began(), {"kind": "run_stopped", "step": 0}])
    launch.delete(harmless)  # with the newest the rest is given up
    launch.delete(helpful)
    launch.delete(reasoning)


def test_a_reward_model_that_nobody_needs_can_go(started: list[str]) -> None:
    from trainer import presets

    raw = presets.tables(presets.find("tiny-two-stages"))
    last = raw["stage"][3]["reward"]
    last["components"] = [one for one in last["components"] if one.get("params", {}).get("model") != "stage:helpful"]
    spec = presets.parse(raw, "test")
    reasoning = launch.create("judges", spec, launch.plan_here(spec, 1024), "less")
    end(reasoning)
    helpful = next_of(reasoning)
    end_judge(helpful)
    harmless = next_of(helpful)
    launch.delete(helpful)
    end_judge(harmless)
    assert next_of(harmless).read_spec().model.name == str(reasoning.checkpoint(20))


def test_a_stage_whose_reward_model_is_gone_is_refused(started: list[str]) -> None:
    import shutil

    _, helpful, harmless = three_ended()
    shutil.rmtree(helpful.path)
    with pytest.raises(RunError, match=r"two\.2-helpful"):
        chain.go_on(harmless)
