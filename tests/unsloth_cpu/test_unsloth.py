"""Unsloth's loader, LoRA, generated trainer and loss, under the project's own worker, without a GPU.

Each part runs in its own process with .venv-unsloth on its path (tools/setup_unsloth_cpu.py, part of `make test`);
all but one are forked from a process that has imported Unsloth (tests/warm.py).
These tests fail, and never skip, when it is missing or when Unsloth changes under us.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import warm as warming
from tests.builders import PARENTS
from tests.records import log_lines
from trainer import launch, presets
from trainer.machine import spawn
from trainer.machine.json_files import read_json
from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import state_of

PACKAGES = PROJECT / ".venv-unsloth"
WORKER = "tests.unsloth_cpu.worker"
LIMIT_S = 240
STEPS = 6
LOGPS = "_get_per_token_logps_and_entropies"

pytestmark = [
    pytest.mark.timeout(2 * LIMIT_S),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="triton, which Unsloth imports, is for Linux"),
]
# What Unsloth is by itself changes with its pins only, and asking it costs an interpreter that imports it.
slow_facts = pytest.mark.slow


class Ran(NamedTuple):
    rundir: RunDir
    events: list[dict[str, Any]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, and an environment in which Unsloth can be imported."""
    folder = tmp_path_factory.mktemp("unsloth")
    if importlib.util.find_spec("unsloth") is None:  # on a machine with a GPU .venv has it
        assert (PACKAGES / ".setup-done").is_file(), "type: .venv/bin/python -m tools.setup_unsloth_cpu"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(PROJECT), str(PACKAGES))))
        patch.setenv("UNSLOTH_CPU_CACHE", str(folder / "cache"))
        patch.setenv("ONEGRPO_OUTPUTS", str(folder / "outputs"))
        patch.setenv("ONEGRPO_STATE", str(folder / "state"))
        _make_gemma(folder / "gemma")
        _make_gemma(folder / "tools", "builtin/tiny-tools")
        with warming.process(folder / "socket", "tests.unsloth_cpu.installed") as socket:
            patch.setenv(warming.SOCKET, str(socket))
            patch.setattr(spawn, "subprocess", warming.asking())
            yield folder


def _make_gemma(folder: Path, words: str = "builtin/tiny-qwen3") -> None:
    """A tiny Gemma 3 with random weights: Unsloth's generic path, the one that needs no Triton kernel. words: the
    built-in model whose tokenizer it has."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GenerationConfig, set_seed

    from trainer.engine import builtin

    tokenizer = builtin.make_tokenizer(words)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    set_seed(0)
    config = Gemma3TextConfig(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=256,
        sliding_window=32,
        initializer_range=0.2,  # enough that its outputs are not uniform
        **ids,
    )
    model = Gemma3ForCausalLM(config).float()
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def create(folder: Path, name: str, *overrides: str) -> RunDir:
    spec = presets.load(
        "tiny-qlora",
        [
            f"model.name={folder / 'gemma'}",
            "model.warm_start=",
            "model.load_in_4bit=false",
            "model.engine=unsloth",
            "model.gradient_checkpointing=unsloth",
            "model.attn_implementation=eager",  # flex attention has no backward pass on a CPU
            "lora.r=4",
            'reward.components=[{ function = "format_regex", name = "correct", params = { pattern = "[ -Z]+" } }]',
            "generation.num_generations=4",
            "generation.max_completion_length=4",
            "generation.steps_per_generation=2",  # the second update is off-policy: old log-probs are computed
            "grpo.beta=0.05",
            f"optim.max_steps={STEPS}",
            "optim.per_device_train_batch_size=8",
            "checkpoint.save_steps=2",
            "data.max_rows=64",
            "eval.max_rows=8",
            "eval.eval_steps=1",  # between two updates of one generation batch as well
            *overrides,
        ],
    )
    return RunDir.create(outputs_dir(), name, spec, launch.plan_here(spec, 64), {})


def wait(rundir: RunDir, handle: launch.WorkerHandle) -> Ran:
    try:
        handle.process.wait(LIMIT_S)
    finally:
        handle.process.kill()
    log = rundir.log_file(handle.attempt).read_text(errors="replace")
    ran = Ran(rundir, log_lines(rundir.events))
    assert launch.status_of(rundir) == "finished", log[-4000:]
    return ran


def adapter(rundir: RunDir, step: int) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights: dict[str, Any] = load_file(rundir.checkpoint(step) / "adapter_model.safetensors")
    return weights


@pytest.fixture(scope="module")
def facts(surroundings: Path) -> dict[str, Any]:
    """In an interpreter of its own: Unsloth must not be imported when it begins."""
    command = [sys.executable, "-m", "tests.unsloth_cpu.facts", str(surroundings)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return _last_line(done.stdout)


@pytest.fixture(scope="module")
def steps(surroundings: Path) -> dict[str, Any]:
    return _said_by("tests.unsloth_cpu.steps", surroundings)


@pytest.fixture(scope="module")
def episodes(surroundings: Path) -> dict[str, Any]:
    return _said_by("tests.unsloth_cpu.episodes", surroundings)


def _said_by(module: str, surroundings: Path) -> dict[str, Any]:
    log = surroundings / f"{module.rpartition('.')[2]}.log"
    process = spawn.detached([module, str(surroundings)], log)
    assert process.wait(LIMIT_S) == 0, log.read_text()[-4000:]
    return _last_line(log.read_text())


@pytest.mark.slow  # as slow_facts: of the pins, and of the benchmark, which a GPU alone makes worth running
def test_the_benchmark_measures_unsloths_own_trainer(surroundings: Path) -> None:
    log = surroundings / "bench.log"
    process = spawn.detached(["tests.unsloth_cpu.bench", str(surroundings / "cache")], log)
    assert process.wait(LIMIT_S) == 0, log.read_text()[-4000:]
    found = _last_line(log.read_text())
    assert "Unsloth" in log.read_text()
    assert 0 < found["generate"] < found["step"]
    assert 0 < found["update"] < found["step"]


def _last_line(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def ran(surroundings: Path) -> Ran:
    """Six steps without an interruption."""
    rundir = create(surroundings, "whole")
    return wait(rundir, launch.start(rundir, WORKER))


@slow_facts
def test_a_failed_patch_is_refused(facts: dict[str, Any]) -> None:
    assert "Unsloth did not patch TRL" in facts["unpatched"]
    assert "GRPOTrainer would train" in facts["unpatched"]


@slow_facts
def test_weights_that_were_to_be_in_4_bits_and_are_not_are_refused(facts: dict[str, Any]) -> None:
    assert facts["unquantised"].startswith("model.load_in_4bit: is true and Unsloth has loaded the model unquantised")


@slow_facts
def test_unsloth_still_takes_what_the_engine_gives_it(facts: dict[str, Any]) -> None:
    assert {
        "model_name", "revision", "max_seq_length", "dtype", "load_in_4bit", "full_finetuning", "trust_remote_code",
        "use_gradient_checkpointing", "random_state", "device_map", "float32_mixed_precision", "fast_inference",
        "gpu_memory_utilization", "max_lora_rank",
    } <= set(facts["arguments"]["load"])  # fmt: skip
    assert {"model_name", "load_in_4bit"} <= set(facts["arguments"]["name"])
    assert {
        "r", "lora_alpha", "lora_dropout", "target_modules", "bias", "use_gradient_checkpointing", "random_state",
    } <= set(facts["arguments"]["lora"])  # fmt: skip


@slow_facts
def test_every_hooked_method_is_there(facts: dict[str, Any]) -> None:
    assert None not in facts["methods"].values(), facts["methods"]
    assert facts["methods"]["compute_loss"] == "_UnslothGRPOTrainer"


@slow_facts
def test_what_its_config_changes_is_put_back(facts: dict[str, Any]) -> None:
    """The traps themselves stand here: if one is gone, Unsloth has mended it."""
    assert {"learning_rate", "optim", "seed", "weight_decay", "warmup_steps"} <= set(facts["defaults"])
    assert facts["corrected"]["dr_grpo"] == ["scale_rewards"]
    assert facts["corrected"]["dapo"] == ["epsilon_high"]
    assert facts["corrected"]["cispo"] == ["epsilon_high"]
    assert not any(facts["left"].values()), facts["left"]


@slow_facts
def test_what_the_trainer_sets_for_vllm_is_what_was_chosen(facts: dict[str, Any]) -> None:
    assert facts["vllm"] == []


def test_unsloths_trainer_is_under_ours(ran: Ran) -> None:
    (plan,) = ran.of_kind("plan")
    assert plan["engine"] == "unsloth"
    assert plan["trainer_class"] == "CustomGRPOTrainer"
    assert [base.rsplit(".", 1)[1] for base in plan["trainer_bases"]] == [
        "UnslothGRPOTrainer",
        "_UnslothGRPOTrainer",
        "_BaseTrainer",
    ]


def test_its_banner_is_in_env_json(ran: Ran) -> None:
    engine = (read_json(ran.rundir.env) or {})["engine"]
    pins = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    of_unsloth = {f"{name}=={engine[name]}" for name in ("unsloth", "unsloth_zoo")}
    assert of_unsloth < set(pins["optional-dependencies"]["gpu"])
    assert f"torch=={engine['torch'].partition('+')[0]}" in pins["dependencies"]
    assert engine["statistics"] is False


def test_nothing_is_compiled_into_the_project(ran: Ran) -> None:
    assert not (PROJECT / "unsloth_compiled_cache").exists()


def test_the_rollouts_follow_the_adapter(ran: Ran) -> None:
    (alert,) = [event for event in ran.of_kind("alert") if event["title"] == "policy sync"]
    assert alert["level"] == "info"


def test_every_span_is_there_under_its_parent(ran: Ran) -> None:
    generating = ran.of_kind("span")[0]["spans"]
    logps = {span["parent"] for span in generating if span["name"] == LOGPS}
    found = {span["name"]: span["parent"] for span in generating if span["name"] != LOGPS}
    # Rewards run in processes of their own: they have seconds in the metrics, and no span.
    assert found == {n: parent for n, parent in PARENTS.items() if n != LOGPS and not n.startswith("reward.")}
    assert logps == {"_generate_and_score_completions", "compute_loss"}  # old and reference policy; the loss
    assert all(span["ok"] for event in ran.of_kind("span") for span in event["spans"])
    later = {span["name"] for span in ran.of_kind("span")[1]["spans"]}
    assert "transformers.generate" not in later  # two updates to a generation batch
    assert {"_prepare_inputs", "compute_loss", "backward"} <= later


def test_rollouts_are_captured(ran: Ran) -> None:
    for step in (1, 3, 5):
        lines = ran.rundir.rollouts_file(step).read_text().splitlines()
        groups = [json.loads(line) for line in lines]
        assert len(groups) == 4  # 16 completions
        for group in groups:
            assert len(group["completions"]) == 4
    step_one = [json.loads(line) for line in ran.rundir.rollouts_file(1).read_text().splitlines()]
    assert any(completion["advantage"] != 0 for group in step_one for completion in group["completions"])


def test_losses_are_finite_and_something_was_learnt_from(ran: Ran) -> None:
    steps = ran.of_kind("step")
    assert [event["step"] for event in steps] == list(range(1, STEPS + 1))
    for event in steps:
        for name in ("train/loss", "train/grad_norm", "train/kl"):
            assert math.isfinite(event["metrics"][name])
    for event in steps[::2]:  # those that generated
        assert {"train/reward", "train/reward_std", "train/completions/mean_length"} <= event["metrics"].keys()
    assert sum(event["metrics"]["train/grad_norm"] > 0 for event in steps) >= STEPS - 1


def test_the_adapter_moves(ran: Ran) -> None:
    early, late = adapter(ran.rundir, 2), adapter(ran.rundir, STEPS)
    b_weights = [name for name in early if "lora_B" in name]
    assert len(b_weights) == 14  # seven linear layers, two decoder layers
    for name in b_weights:
        assert early[name].abs().sum() > 0, name
        assert not early[name].equal(late[name]), name


@pytest.mark.slow
@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_adapter(surroundings: Path, ran: Ran) -> None:
    rundir = create(surroundings, "killed")
    handle = launch.start(rundir, WORKER)
    deadline = time.monotonic() + LIMIT_S
    while not state_of(rundir).checkpoints and handle.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    launch.kill(rundir)
    handle.process.wait(30)
    resumed = wait(rundir, launch.resume(rundir, WORKER))
    started = resumed.of_kind("run_started")
    assert [event["attempt"] for event in started] == [1, 2]
    assert started[1]["resumed_from_step"] >= 2
    assert _hash(rundir) == _hash(ran.rundir)


@pytest.mark.slow
def test_another_run_takes_its_adapter_over(surroundings: Path, ran: Ran) -> None:
    from safetensors.torch import load_file

    first = ran.rundir.checkpoint(STEPS)
    rundir = create(surroundings, "taken", f"model.adapter={first}", "optim.max_steps=2", "optim.learning_rate=1e-12")
    wait(rundir, launch.start(rundir, WORKER))
    before, after = (load_file(place / "adapter_model.safetensors") for place in (first, rundir.checkpoint(2)))
    assert before.keys() == after.keys() and any(value.abs().max() > 1e-5 for value in before.values())
    assert all((after[name] - before[name]).abs().max() < 1e-6 for name in before)


@pytest.mark.slow
def test_the_reference_is_the_adapter_as_it_was(surroundings: Path, ran: Ran) -> None:
    """By the KL: 0 at the first step, where the bare base is already far away; and the frozen weights stay."""
    from safetensors.torch import load_file

    source = ran.rundir.checkpoint(STEPS)
    rundir = create(surroundings, "further", f"model.adapter={source}", "optim.learning_rate=1e-2")
    further = wait(rundir, launch.start(rundir, WORKER))
    kl = [event["metrics"]["train/kl"] for event in further.of_kind("step")]
    assert kl[0] == pytest.approx(0, abs=1e-6) and kl[-1] > 1e-5
    before = load_file(rundir.start / "adapter_model.safetensors")
    frozen, trained = (
        load_file(rundir.checkpoint(STEPS) / place / "adapter_model.safetensors") for place in ("ref", "")
    )
    assert all(frozen[name].equal(value) for name, value in before.items())
    assert any(not trained[name].equal(value) for name, value in before.items())


def _hash(rundir: RunDir) -> str:
    return hashlib.sha256((rundir.checkpoint(STEPS) / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_advantages_of_tokens_need_to_be_aligned(steps: dict[str, Any]) -> None:
    """The trap itself: Unsloth's loss moves the rows to the left, and has more columns than there are advantages."""
    padding, tokens = steps["packed"]
    assert padding == [1] * 4 + [0] * 4
    assert len(set(tokens)) > 1
    assert "size of tensor" in steps["unaligned"]


def test_one_advantage_for_all_tokens_gives_the_loss_of_one_a_completion(steps: dict[str, Any]) -> None:
    for loss, parts in steps["losses"].items():
        for part, (plain, expanded) in parts.items():
            assert expanded == pytest.approx(plain, rel=1e-5), (loss, part)
            assert plain[1] > 0


def test_advantages_that_trl_lacks_reach_unsloths_loss(steps: dict[str, Any]) -> None:
    rewards, given = steps["rloo"]
    groups = [rewards[first : first + 4] for first in range(0, len(rewards), 4)]
    wanted = [reward - (sum(group) - reward) / 3 for group in groups for reward in group]
    assert given == pytest.approx(wanted, abs=1e-5)
    assert any(given)


def test_groups_without_an_advantage_are_left_out_with_the_same_gradient(steps: dict[str, Any]) -> None:
    dead = dict(steps["dead"])
    assert dead.pop("none") == 0.0
    for loss, (ours, theirs, cosine) in dead.items():
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-7), loss
        assert theirs[1] > 0, loss
        assert cosine == pytest.approx(1, abs=1e-5), loss


def test_unsloth_finds_whole_groups_in_every_micro_batch(steps: dict[str, Any]) -> None:
    """TRL's shuffle leaves it none; whether it then shares is up to its own check and its kernels."""
    asked, found = steps["grouped"]["auto"]
    assert asked == found > 0
    assert steps["grouped"]["off"][1] < steps["grouped"]["off"][0]


def test_a_sampler_chooses_what_unsloth_trains_on(steps: dict[str, Any]) -> None:
    """Several rounds and groups of several sizes, with its own log-probabilities of old policy and reference."""
    phases = steps["sampled"]
    assert len(phases) == 6, "one a step: Unsloth accumulates two micro-batches where nothing is said"
    assert any(rounds > 1 for rounds, *_ in phases)
    assert any(len(set(sizes)) > 1 for _, sizes, *_ in phases)
    assert all(trained == 8 for _, _, trained, *_ in phases)
    assert all(math.isfinite(loss) and math.isfinite(norm) for *_, loss, norm in phases)
    assert any(norm > 0 for *_, norm in phases)


def test_what_comes_again_has_its_log_probabilities_where_unsloth_has_its_tokens(steps: dict[str, Any]) -> None:
    """The weights stay, so those that were kept are those of now, in columns that are other ones in each phase."""
    phases, losses = steps["replayed"]["phases"], steps["replayed"]["losses"]
    assert sum(share > 0 for share, _ in phases) >= 2
    assert all(outside == 0 for share, outside in phases if share)
    assert any(kept[1] > 0 for kept, _ in losses)
    for kept, plain in losses:
        assert kept == pytest.approx(plain, rel=2e-3, abs=2e-4)


def test_process_supervision_is_trained_by(steps: dict[str, Any]) -> None:
    norms, several = steps["run"]
    assert len(norms) == 2
    assert all(math.isfinite(norm) and norm > 0 for norm in norms)
    assert several
    assert steps["told_apart"] is True


def test_episodes_are_played_and_trained_on(episodes: dict[str, Any]) -> None:
    turns, calls, updates, told = episodes["run"]
    assert len(set(turns)) > 1 and max(turns) == 3
    assert calls > 0 and len(updates) == 2
    assert all(math.isfinite(loss) and math.isfinite(norm) for loss, norm in updates) and updates[0][1] > 0
    assert told[0][0] > 0 and told[0][1] > told[0][0], "the loss is told which tokens a tool wrote"


def test_turns_have_the_loss_and_the_gradient_that_trl_gives_them(episodes: dict[str, Any]) -> None:
    """Rows of unlike padding; the base is in float16, which a single turn shows as well."""
    assert episodes["padding"] == [10] * 4 + [0] * 4
    assert episodes["single"] < 5e-3
    for loss, by_beta in episodes["against"].items():
        for beta, parts in by_beta.items():
            for part, (ours, theirs, distance) in parts.items():
                assert ours == pytest.approx(theirs, rel=5e-3, abs=1e-3), (loss, beta, part)
                assert distance < 1e-2, (loss, beta, part)


def test_what_tools_wrote_has_no_loss(episodes: dict[str, Any]) -> None:
    changed, unmasked = episodes["tools"]
    assert changed == 0
    assert unmasked > 1


def test_groups_without_an_advantage_are_left_out_of_episodes_too(episodes: dict[str, Any]) -> None:
    for loss, (rows, whole, stock) in episodes["dead"].items():
        assert rows == 4, loss
        assert whole < 1e-5, loss
        assert stock < 1e-2, loss


def test_an_episode_that_unsloth_would_cut_ends_the_run(episodes: dict[str, Any]) -> None:
    assert episodes["cut"].startswith("model.max_seq_length: is 70, and Unsloth would cut an episode")
    assert "model.max_seq_length = 80 or more" in episodes["cut"]
