"""The contest's path with the real worker: answers at every save, their scores, the best of them, a kill in between.

Preset malpyeong-tiny, cut down: what it learns is another matter (its header says what to expect).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.evaluate import independent_scores
from trainer import presets
from trainer.machine.json_files import read_json
from trainer.machine.project import PROJECT
from trainer.rewards.library import tiny_bert
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.slow

ROWS = 6
SHORT = (
    "model.warm_start.steps=60",
    "model.warm_start.until_loss=0",
    "optim.max_steps=4",
    "checkpoint.save_steps=2",
    f"eval.max_rows={ROWS}",
    "eval.pass_at=[1, 4]",
)


def command(outputs: Path, *words: str, warm: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python WORDS`; with a warm process `python app.py WORDS`, and the worker is forked from it."""
    environment = {**os.environ, "ONEGRPO_OUTPUTS": str(outputs)}
    words = (sys.executable, *words)
    if warm:
        environment[warming.SOCKET] = str(warm)
        words = tuple(warming.app(environment, *words[1:]))
    return subprocess.run(words, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, warm_process: Path) -> RunDir:
    outputs = tmp_path_factory.mktemp("outputs")
    sets = [word for value in SHORT for word in ("--set", value)]
    words = ("--headless", "--preset", "malpyeong-tiny", "--name", "contest", *sets)
    done = command(outputs, *words, warm=warm_process)
    assert done.returncode == 0, done.stdout + done.stderr
    return RunDir(outputs / "contest")


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.events.read_text(encoding="utf-8").splitlines()]
    return [event for event in lines if event["kind"] == kind]


def labels(run: RunDir) -> list[dict[str, Any]]:
    path = Path(str(run.read_spec().data.eval_path))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:ROWS]


def test_every_save_has_its_adapter_and_its_answers(run: RunDir) -> None:
    for label, step in (("0.25", 2), ("0.5", 4)):
        saved = run.checkpoint(step) / "adapter_model.safetensors"
        assert (run.epoch_folder(label) / saved.name).read_bytes() == saved.read_bytes()
        written = json.loads(run.inference_file(label).read_text(encoding="utf-8"))
        assert [entry["question"] for entry in written] == [row["question"] for row in labels(run)]
        assert all(set(entry) >= {"id", "question_type", "answer", "normalised_answer"} for entry in written)


def test_the_last_save_and_the_end_are_one_evaluation_said_twice(run: RunDir) -> None:
    before, first, second, after = events(run, "eval")
    assert [event["at"] for event in (before, first, second, after)] == ["before", "during", "during", "after"]
    assert (second["step"], second["reward"]) == (after["step"], after["reward"])
    assert set(before["sampled"]["pass_at"]) == {"1", "4"}


def test_evaluate_agrees_with_a_script_of_its_own_and_names_the_best(run: RunDir, tmp_path: Path) -> None:
    model, tokenizer = tiny_bert.make()
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    right = tmp_path / "labels.jsonl"
    right.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in labels(run)), encoding="utf-8")
    done = command(run.path.parent, "-m", "trainer", "evaluate", "contest", "--labels", str(right))
    assert (done.returncode, done.stderr) == (0, "")
    expected = independent_scores.scores(run.path, right, str(tmp_path / "bert"))
    written = read_json(run.scores)
    assert written is not None
    for epoch in written["epochs"]:
        for figure in ("rouge1", "bertscore", "em", "mean", "reward"):
            assert epoch[figure] == pytest.approx(expected[epoch["epoch"]][figure], abs=1e-5), figure
    best = max(expected, key=lambda epoch: expected[epoch]["mean"])
    assert written["best"]["epoch"] == best
    assert f"Epoch {best} (step {written['best']['step']}) is the best of 2" in done.stdout
    of_the_run = {event["step"]: event["components"] for event in events(run, "eval")}
    for epoch in written["epochs"]:  # what the training measured is what the files say
        assert of_the_run[epoch["step"]]["rouge1"] == pytest.approx(epoch["rouge1"], abs=1e-6)


def test_an_attempt_that_ended_before_its_answers_were_written_is_caught_up(run: RunDir, warm_process: Path) -> None:
    """As after a kill between the two: the checkpoint is there, its answers are not."""
    wanted = run.inference_file("0.5").read_text(encoding="utf-8")
    run.inference_file("0.5").unlink()
    checkpoint = checkpoints.listed(run.checkpoints)[-1]
    finished = run.events.read_text(encoding="utf-8").splitlines()
    kept = [line for line in finished if json.loads(line)["kind"] not in ("run_finished", "eval")]
    run.events.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    done = command(run.path.parent, "--headless", "--resume", "contest", warm=warm_process)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run.inference_file("0.5").read_text(encoding="utf-8") == wanted
    assert checkpoints.listed(run.checkpoints)[-1] == checkpoint


def test_the_preset_pays_the_gold_answer_most() -> None:
    done = command(PROJECT, "-m", "trainer", "rewards", "check", "--preset", "malpyeong-tiny", "--rows", "2")
    assert (done.returncode, done.stderr) == (0, "")
    gold = [line.split() for line in done.stdout.splitlines() if " gold " in line]
    assert [float(line[2]) for line in gold] == pytest.approx([4 / 3, 4 / 3], abs=1e-4)
    assert presets.load("malpyeong-tiny").eval.answers
