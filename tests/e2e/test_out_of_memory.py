"""A step that is too large for the device: the real worker goes on with the same optimizer step in smaller pieces."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.records import log_lines
from trainer import launch, presets
from trainer.console import headless
from trainer.run.rundir import RunDir, outputs_dir

pytestmark = pytest.mark.usefixtures("warm")
WORKER = "tests.e2e.starved_worker"
STEPS = 4
PLACES = {
    "generate": "transformers.generate",
    "logps": "_get_per_token_logps_and_entropies",
    "loss": "compute_loss",
    "backward": "backward",
}


def run(monkeypatch: pytest.MonkeyPatch, where: str, attempts: int, *overrides: str) -> tuple[RunDir, int, str]:
    """(the run, exit code of the command, what it printed)."""
    monkeypatch.setenv("STARVE", where)
    monkeypatch.setenv("STARVE_ATTEMPTS", str(attempts))
    spec = presets.load(
        "tiny",
        [
            "model.warm_start=",
            "optim.per_device_train_batch_size=16",
            f"optim.max_steps={STEPS}",
            "checkpoint.save_steps=2",
            "eval.at_start=false",
            "eval.at_end=false",
            *overrides,
        ],
    )
    rundir = RunDir.create(outputs_dir(), "starved", spec, launch.plan_here(spec, 1024), {})
    printed = io.StringIO()
    return rundir, headless.follow(rundir, launch.start(rundir, WORKER), printed), printed.getvalue()


def of_kind(rundir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in log_lines(rundir.events) if event["kind"] == kind]


# Two of the four take two attempts of a worker each: one that generates in parts afterwards, one in a backward pass.
@pytest.mark.parametrize(
    "where",
    [place if place in ("generate", "backward") else pytest.param(place, marks=pytest.mark.slow) for place in PLACES],
)
def test_it_finishes_with_the_same_effective_batch(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    left = {"ACCELERATE_MIXED_PRECISION": "bf16", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}
    for name, value in left.items():  # what another trainer may leave in a shell
        monkeypatch.setenv(name, value)
    rundir, code, printed = run(monkeypatch, where, attempts=1)
    assert code == launch.EXIT_FINISHED, printed
    (alert,) = [event for event in of_kind(rundir, "alert") if event["key"] == "left_out"]  # once, not by each attempt
    assert alert["values"]["names"] == sorted(left)
    first, second = (event["plan"] for event in of_kind(rundir, "plan"))
    assert (first["per_device_train_batch_size"], first["gradient_accumulation_steps"]) == (16, 1)
    assert (second["per_device_train_batch_size"], second["gradient_accumulation_steps"]) == (8, 2)
    for same in ("completions_per_update", "completions_per_phase", "optimizer_steps"):
        assert first[same] == second[same]
    assert [event["resumed_from_step"] for event in of_kind(rundir, "run_started")] == [0, 2]
    assert [event["step"] for event in of_kind(rundir, "step")] == [1, 2, 3, 4]
    assert {event["completions"] for event in of_kind(rundir, "rollouts")} == {16}
    (alert,) = [event for event in of_kind(rundir, "alert") if event["title"] == "out of memory"]
    assert f"in {PLACES[where]} " in alert["text"]
    assert "micro-batch 8 x accumulation 2, completions written in 2 parts" in printed
    (failed,) = of_kind(rundir, "run_failed")
    assert failed["retry"] is True
    assert failed["exit_code"] == launch.EXIT_OUT_OF_MEMORY


def test_it_gives_up_when_nothing_is_left_to_halve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rundir, code, _ = run(
        monkeypatch, "backward", 9, "optim.per_device_train_batch_size=2", "generation.num_generations=2"
    )
    assert code == launch.EXIT_FAILED
    assert [event["retry"] for event in of_kind(rundir, "run_failed")] == [True, False]
    said = capsys.readouterr().err
    assert "memory: ran out in backward after 1 try in smaller pieces: CUDA out of memory" in said
    assert "generation.max_completion_length" in said
    assert rundir.checkpoint(2).is_dir()  # nothing that was made is lost


@pytest.mark.parametrize(
    ("where", "place", "advice"),
    [("load", "outside of a step", "a smaller model.name"), ("optimizer", "in optimizer", "adamw_8bit")],
)
def test_what_smaller_pieces_do_not_help_fails_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, place: str, advice: str
) -> None:
    rundir, code, _ = run(monkeypatch, where, attempts=1)
    assert code == launch.EXIT_FAILED
    (failed,) = of_kind(rundir, "run_failed")
    assert failed["retry"] is False
    assert failed["exit_code"] == launch.EXIT_OUT_OF_MEMORY
    said = capsys.readouterr().err
    assert f"memory: ran out {place}: CUDA out of memory" in said
    assert advice in said
