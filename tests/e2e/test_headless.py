"""The main job, as a person starts it: python app.py --headless, with the real worker and the real model."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e.conftest import finish, start, steps_seen, wait_for_step, weights_hash
from tests.records import log_lines
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.usefixtures("warm")
# Five steps an epoch, so that the run ends inside its third; a checkpoint every second step.
SHORT = [
    "optim.max_steps=12",
    "optim.per_device_train_batch_size=32",
    "data.max_rows=20",
    "checkpoint.save_steps=2",
    "checkpoint.save_total_limit=2",
    "eval.max_rows=16",
    "log.heartbeat_s=0.5",
]


def start_short(outputs: Path, name: str, *more: str, preset: str = "tiny") -> subprocess.Popen[str]:
    sets = [flag for value in (*SHORT, *more) for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", preset, "--name", name, *sets)


def train(outputs: Path, name: str, *more: str, preset: str = "tiny") -> tuple[int, dict[str, Any], str]:
    return finish(start_short(outputs, name, *more, preset=preset))


@pytest.fixture(scope="module")
def whole(outputs: Path) -> tuple[RunDir, dict[str, Any], str]:
    """An uninterrupted run: (its folder, its last line, all it printed)."""
    code, summary, printed = train(outputs, "whole")
    assert code == 0, printed
    return RunDir(outputs / "whole"), summary, printed


def test_a_run_ends_with_one_json_line(whole: Any) -> None:
    _, summary, printed = whole
    assert summary["run"] == "whole"
    assert summary["status"] == "finished"
    assert summary["steps"] == 12
    assert isinstance(summary["reward_first"], float)
    assert isinstance(summary["reward_last"], float)
    assert 0 <= summary["eval_before"] <= 1.5
    assert 0 <= summary["eval_after"] <= 1.5
    assert summary["seconds"] > 0
    assert summary["tokens"] > 12 * 32 * 17
    assert 0.1 < summary["peak_memory_gib"] < 8
    assert sum(line.startswith("step") for line in printed.splitlines()) == 12


def test_a_finished_run_leaves_its_report_in_both_languages(whole: Any) -> None:
    run, _, printed = whole
    assert f"report {run.report / 'report.en.html'}" in printed
    for language, word in (("en", "12 of 12 steps are done"), ("ko", "12스텝 중 12스텝을 마쳤습니다")):
        for form in ("html", "md"):
            assert word in run.report_file(language, form).read_text(encoding="utf-8")


def test_events_carry_the_reference_names(whole: Any) -> None:
    run, _, _ = whole
    events = log_lines(run.events)
    steps = [event for event in events if event["kind"] == "step"]
    for event in steps:
        assert {
            "train/reward",
            "train/reward_std",
            "train/rewards/ComponentRewardWrapper/mean",
            "train/rewards/ComponentRewardWrapper/std",
            "train/loss",
            "train/num_tokens",
            "profiling/Time taken: CustomGRPOTrainer.transformers.generate",
            "profiling/Time taken: CustomGRPOTrainer._prepare_inputs",
            "profiling/Time taken: CustomGRPOTrainer._calculate_rewards",
            "profiling/Time taken: CustomGRPOTrainer.ComponentRewardWrapper",
        } <= event["metrics"].keys()
    tokens = [event["tokens"] for event in steps]
    assert tokens == sorted(tokens)
    (plan,) = [event for event in events if event["kind"] == "plan"]
    assert plan["trainer_class"] == "CustomGRPOTrainer"
    assert plan["trainer_bases"][0] == "trl.trainer.grpo_trainer.GRPOTrainer"


def test_rollouts_hold_every_group_of_every_step(whole: Any) -> None:
    run, _, _ = whole
    by_step = {event["step"]: event for event in log_lines(run.events) if event["kind"] == "step"}
    for step in range(1, 13):
        lines = [json.loads(line) for line in run.rollouts_file(step).read_text().splitlines()]
        assert [line["group"] for line in lines] == [0, 1, 2, 3]
        assert all(len(line["completions"]) == 8 for line in lines)
        paid = [completion["reward"] for line in lines for completion in line["completions"]]
        assert sum(paid) / 32 == pytest.approx(by_step[step]["metrics"]["train/reward"], abs=1e-6)
        assert by_step[step]["groups"]["dead_frac"] == sum(line["outcome"] != "spread" for line in lines) / 4


def test_each_epoch_uses_every_row_in_another_order(whole: Any) -> None:
    run, _, _ = whole
    epochs = []
    for first in (1, 6):
        files = [run.rollouts_file(step) for step in range(first, first + 5)]
        epochs.append(
            [json.loads(line)["columns"]["answer"] for file in files for line in file.read_text().splitlines()]
        )
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_killed_run_is_lost_and_resumes_to_the_same_weights(outputs: Path, whole: Any) -> None:
    process = start_short(outputs, "killed")
    run = RunDir(outputs / "killed")
    wait_for_step(run, 7)
    os.kill(json.loads(run.identity.read_text())["pid"], signal.SIGKILL)
    code, summary, printed = finish(process)
    assert (code, summary["status"]) == (1, "lost"), printed
    assert "disappeared without reporting an end" in run.report_file("en", "md").read_text(encoding="utf-8")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "killed"))
    assert (code, summary["status"], summary["steps"]) == (0, "finished", 12), printed
    assert weights_hash(run) == weights_hash(whole[0])
    assert summary["eval_after"] == whole[1]["eval_after"]
    assert summary["tokens"] == whole[1]["tokens"]


def test_a_stopped_run_saves_and_resumes_to_the_same_weights(outputs: Path, whole: Any) -> None:
    process = start_short(outputs, "stopped")
    run = RunDir(outputs / "stopped")
    wait_for_step(run, 4)
    process.send_signal(signal.SIGINT)
    code, summary, printed = finish(process)
    assert (code, summary["status"]) == (130, "stopped"), printed
    newest, _ = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None
    assert newest.step == summary["steps"] == steps_seen(run)[-1]
    assert f"stopped at step {newest.step} of 12" in run.report_file("en", "md").read_text(encoding="utf-8")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "stopped"))
    assert (code, summary["status"]) == (0, "finished"), printed
    assert weights_hash(run) == weights_hash(whole[0])


def test_a_damaged_checkpoint_is_skipped_and_said(outputs: Path, whole: Any) -> None:
    run = RunDir(outputs / "damaged")
    shutil.copytree(whole[0].path, run.path)
    before = len(steps_seen(run))
    optimizer = run.checkpoint(12) / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    events = run.events.read_text().splitlines()
    run.events.write_text("\n".join(line for line in events if '"run_finished"' not in line) + "\n")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "damaged"))
    assert (code, summary["status"]) == (0, "finished"), printed
    assert steps_seen(run)[before:] == [11, 12]
    assert [path.name[:22] for path in run.checkpoints.glob("damaged-*")] == ["damaged-checkpoint-12-"]  # not lost
    assert "checkpoint-12" in printed
    assert "optimizer.pt" in printed
    assert weights_hash(run) == weights_hash(whole[0])


def test_a_run_killed_after_its_last_step_trains_no_further_one(outputs: Path, whole: Any) -> None:
    run = RunDir(outputs / "last")
    shutil.copytree(whole[0].path, run.path)
    events = run.events.read_text().splitlines()
    kept = [line for line in events if '"run_finished"' not in line and '"after"' not in line]
    run.events.write_text("\n".join(kept) + "\n")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "last"))
    assert (code, summary["status"], summary["steps"]) == (0, "finished", 12), printed
    assert weights_hash(run) == weights_hash(whole[0])
    assert summary["tokens"] == whole[1]["tokens"]
    assert summary["eval_after"] == whole[1]["eval_after"]


def test_going_back_to_an_older_checkpoint_ends_with_the_same_weights(outputs: Path, whole: Any) -> None:
    run = RunDir(outputs / "rewound")
    shutil.copytree(whole[0].path, run.path)
    assert [found.step for found in checkpoints.listed(run.checkpoints)] == [10, 12]
    process = start(outputs, "--headless", "--resume", "rewound", "--checkpoint", "10")
    code, summary, printed = finish(process)
    assert (code, summary["status"], summary["steps"], summary["best_step"]) == (0, "finished", 12, 12), printed
    assert "going back to checkpoint-10; set aside, not deleted: checkpoint-12" in printed
    assert steps_seen(run)[12:] == [11, 12]
    assert len(list(run.checkpoints.glob("aside-checkpoint-12-*"))) == 1
    assert weights_hash(run) == weights_hash(whole[0])
    assert summary["eval_after"] == whole[1]["eval_after"]


def test_parent_and_worker_signalled_together_still_save(outputs: Path, whole: Any) -> None:
    """What a service manager does: SIGTERM to every process of the job."""
    process = start_short(outputs, "managed")
    run = RunDir(outputs / "managed")
    wait_for_step(run, 2)
    os.kill(json.loads(run.identity.read_text())["pid"], signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    code, summary, printed = finish(process)
    assert (code, summary["status"]) == (130, "stopped"), printed
    newest, _ = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None
    assert newest.step == summary["steps"] >= 2


def test_qlora_on_the_cpu_runs_and_saves_an_adapter(outputs: Path) -> None:
    code, summary, printed = train(outputs, "qlora", "optim.max_steps=2", preset="tiny-qlora")
    assert (code, summary["status"]) == (0, "finished"), printed
    folder = RunDir(outputs / "qlora").checkpoint(2)
    assert (folder / "adapter_model.safetensors").is_file()
    assert not (folder / "model.safetensors").exists()

    # Another run takes that adapter over: with a rate at which nothing moves it ends with the same one.
    still = ("optim.max_steps=1", "optim.learning_rate=1e-12", "model.adapter=run:qlora@2")
    code, summary, printed = train(outputs, "qlora-on", *still, preset="tiny-qlora")
    assert (code, summary["status"]) == (0, "finished"), printed
    assert "the adapter of run qlora, step 2 is trained further" in printed
    before, after = (load_file(place / "adapter_model.safetensors") for place in
                     (folder, RunDir(outputs / "qlora-on").checkpoint(1)))  # fmt: skip
    moved = [name for name, value in before.items() if "lora_B" in name and value.abs().max() > 1e-5]
    assert moved and all((after[name] - before[name]).abs().max() < 1e-7 for name in before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_trains_an_adapter_further_survives_a_kill_and_the_loss_of_its_source(outputs: Path) -> None:
    short = ("eval.at_start=false", "eval.at_end=false", "run.memory_probe=false")
    code, _, printed = train(outputs, "source", "optim.max_steps=2", *short, preset="tiny-qlora")
    assert code == 0, printed
    on = (*short, "optim.max_steps=8", "model.adapter=run:source", "grpo.beta=0.05")
    code, _, printed = train(outputs, "further", *on, preset="tiny-qlora")
    assert code == 0, printed
    process = start_short(outputs, "further-killed", *on, preset="tiny-qlora")
    run = RunDir(outputs / "further-killed")
    wait_for_step(run, 3)
    os.kill(json.loads(run.identity.read_text())["pid"], signal.SIGKILL)
    finish(process)
    shutil.rmtree(outputs / "source")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "further-killed"))
    assert (code, summary["status"], summary["steps"]) == (0, "finished", 8), printed
    other = RunDir(outputs / "further")
    for name in ("adapter_model.safetensors", "ref/adapter_model.safetensors"):
        assert (run.checkpoint(8) / name).read_bytes() == (other.checkpoint(8) / name).read_bytes(), name
    start_from = load_file(run.start / "adapter_model.safetensors")
    kept = load_file(run.checkpoint(8) / "ref" / "adapter_model.safetensors")
    assert all((kept[name] == value).all() for name, value in start_from.items())
    assert log_lines(other.events, "step")[0]["metrics"]["train/kl"] == 0


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--preset", "tyni"], ["tyni", "tiny"]),
        (
            ["--preset", "tiny", "--set", "optim.lerning_rate=1"],
            ["optim.lerning_rate", "learning_rate"],
        ),
        (
            ["--preset", "tiny", "--set", "optim.learning_rate=fast"],
            ["optim.learning_rate", "fast"],
        ),
        (["--preset", "tiny", "--set", "generation.num_generations=7"], ["num_generations", "256"]),
        (["--preset", "tiny", "--set", "data.path=absent.jsonl"], ["data.path", "absent.jsonl"]),
        (
            ["--preset", "tiny", "--set", "optim.learning_rate=-1", "--set", "grpo.betta=1"],
            ["optim.learning_rate", "grpo.betta", "grpo.beta"],
        ),
        (["--resume", "absent"], ["absent"]),
    ],
)
def test_bad_input_is_refused_with_exit_code_two_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], messages: list[str]
) -> None:
    process = start(tmp_path / "outputs", "--headless", *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in errors
    assert all(message in errors for message in messages), errors
    assert not (tmp_path / "outputs").exists()


def test_a_malformed_line_of_the_data_is_named(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "a", \n')
    process = start(tmp_path / "outputs", "--headless", "--preset", "tiny", "--set", f"data.path={rows}")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "rows.jsonl:2: is not JSON" in errors
    assert not (tmp_path / "outputs").exists()
