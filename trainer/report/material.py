"""What rules and reports read of one run: the folded events, the settings that are known, prompts and completions.

A run that was made elsewhere (`import-wandb`) knows only some of its settings: the others are None here, never a
default. Torch-free; reads the run's folder, changes nothing.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trainer import launch
from trainer.errors import RunError
from trainer.machine.gpu_models import GpuModel, gpu_model_named
from trainer.machine.json_files import read_json
from trainer.machine.regular_files import why
from trainer.memory import Load
from trainer.plan import batch_of, memory_load
from trainer.plan.estimate import Machine
from trainer.plan.reading import fitting
from trainer.report import series
from trainer.run.best import Best, find_best
from trainer.run.groups import Group, read_groups
from trainer.run.records import Origin
from trainer.run.rundir import RunDir
from trainer.run.state import PROFILED, RunFollower, RunState
from trainer.run.status import LIVE, Status, imported
from trainer.spec import Method, RunSpec
from trainer.spec.methods import SUPERVISED
from trainer.text import Message

GENERATE = f"{PROFILED}transformers.generate"
VLLM_GENERATE = f"{PROFILED}vLLM.generate"


@dataclass(frozen=True)
class RolloutFile:
    """What is wrong with a rollout file. missing: groups that its event names and that it does not hold, not even
    damaged. damaged, not_text: lines, as in GroupFile. why: it could not be read at all."""

    gone: bool = False
    damaged: int = 0
    not_text: int = 0
    missing: int = 0
    why: Message | None = None


@dataclass(frozen=True)
class Material:
    """One run at one moment.

    known: dotted keys of the settings that are known; None when all are. rollouts: lines of the rollout files by step,
    read when they are asked for.
    """

    name: str
    state: RunState
    status: Status
    spec: RunSpec | None
    plan: dict[str, Any] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    known: frozenset[str] | None = None
    imported: Origin | None = None
    gpu: str | None = None
    rundir: RunDir | None = None
    best: Best | None = None
    damaged: tuple[Message, ...] = ()
    """What of plan.json and env.json could not be read."""
    files: dict[int, RolloutFile] = field(default_factory=dict, compare=False, repr=False)
    """What was met in the rollout files that were read, by step."""

    # ---- settings

    def setting(self, key: str) -> Any:
        """The value of `section.key` of the spec; None when it is not known."""
        if self.spec is None or (self.known is not None and not self.is_known(key)):
            return None
        value: Any = self.spec
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
        return value

    @property
    def method(self) -> Method:
        """How it learns. Where no spec can be read, and of a run that was made elsewhere, GRPO."""
        return self.spec.run.method if self.spec is not None else "grpo"

    @property
    def is_supervised(self) -> bool:
        """It learns from examples that were there before its first step: no rollouts, no rewards of a step."""
        return self.method in SUPERVISED

    @property
    def by_vllm(self) -> bool:
        """vLLM wrote the completions."""
        return bool(self.setting("model.fast_inference") or self.setting("trl.use_vllm"))

    def is_known(self, key: str) -> bool:
        known = self.known or frozenset()
        return key in known or any(name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in known)

    @property
    def updates_per_phase(self) -> int | None:
        """Optimizer steps one generation batch is used for; above 1 the policy leaves the one that wrote it."""
        known = self.known is None or self.is_known("grpo.num_iterations")
        found = self.plan.get("updates_per_phase")
        return found if known and isinstance(found, int) else None

    @property
    def ratios_are_one(self) -> bool:
        """Each generation is used for one update, and nothing of earlier ones comes again."""
        return self.updates_per_phase == 1 and not self.setting("sampling.replay")

    @property
    def epoch_steps(self) -> int | None:
        """Optimizer steps of a pass over the data; of an imported run by the epochs it logged."""
        if self.imported is None:
            found = self.plan.get("optimizer_steps_per_epoch")
            return found if isinstance(found, int) else None
        epochs = series.known(self.state.steps, self.state.epochs)
        passed = epochs[-1][1] - epochs[0][1] if len(epochs) > 1 else 0.0
        return round((epochs[-1][0] - epochs[0][0]) / passed) if passed > 0 else None

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def steps_total(self) -> int | None:
        """Optimizer steps planned; of an imported run nobody knows."""
        found = self.state.steps_total or self.plan.get("optimizer_steps")
        return found if isinstance(found, int) and self.imported is None else None

    # ---- columns

    def points(self, name: str) -> series.Series:
        """(step, value) of a metric by its W&B name."""
        return series.known(self.state.steps, self.state.metrics.get(name, []))

    def group_points(self, name: str) -> series.Series:
        return series.known(self.state.steps, self.state.groups.get(name, []))

    def memory_points(self, name: str) -> series.Series:
        return series.known(self.state.steps, self.state.memory.get(name, []))

    @cached_property
    def seconds(self) -> series.Series:
        """Of each step, without those that warm up; all of them in a run that is shorter than its warm-up."""
        found = series.known(self.state.steps, self.state.seconds)
        return series.without(found, self.state.warmup) or found

    @cached_property
    def generate_s(self) -> series.Series:
        """Seconds of generation of each step."""
        found = self.points(VLLM_GENERATE if self.by_vllm else GENERATE)
        return series.without(found, self.state.warmup) or found

    @cached_property
    def components(self) -> list[str]:
        """Names of the reward components that have metrics, in the order of the preset."""
        head, tail = "train/rewards/", "/mean"
        found = [name[len(head) : -len(tail)] for name in self.state.metrics if _is_mean(name, head, tail)]
        found = [name for name in found if name != "ComponentRewardWrapper"]
        order = [leaf.title for leaf in self.spec.reward.leaves()] if self.spec else []
        return sorted(found, key=lambda name: order.index(name) if name in order else len(order))

    # ---- generation's floor

    @cached_property
    def card(self) -> GpuModel | None:
        """The GPU, as far as its data sheet is known."""
        return gpu_model_named(self.gpu)

    @cached_property
    def load(self) -> Load | None:
        """Sizes of the model and the batch; None for an unknown model."""
        if self.spec is None or self.setting("model.name") in (None, "unknown"):
            return None
        on_gpu = self.gpu is not None
        return memory_load(self.spec, batch_of(self.spec, None), Machine(80.0 if on_gpu else None))

    # ---- rollouts

    @cached_property
    def rollout_steps(self) -> list[int]:
        """Steps whose completions were written down."""
        last = self.state.last_step  # those of a step that never ended belong to none
        return sorted({event.step for event in self.state.rollouts if event.step <= last})

    def written_for(self, step: int) -> int | None:
        """The step at which the completions of `step` were generated; None when they are not there."""
        place = bisect.bisect_right(self.rollout_steps, step)
        if not place or self.rundir is None:
            return None
        written = self.rollout_steps[place - 1]
        phase = self.plan.get("updates_per_phase") or 1
        return written if step - written < phase else None

    def groups(self, step: int) -> Sequence[Group]:
        """The groups of a step as its rollout file has them; [] when they are not there."""
        written = self.written_for(step)
        if written is None or self.rundir is None:
            return []
        try:
            found = read_groups(self.rundir.rollouts_file(written))
        except FileNotFoundError:
            self.files[written] = RolloutFile(gone=True)
            return []
        except OSError as error:
            self.files[written] = RolloutFile(why=why(error))
            return []
        missing = max(0, self._told.get(written, 0) - len(found.groups) - found.damaged)
        self.files[written] = RolloutFile(False, found.damaged, found.not_text, missing)
        return found.groups

    @cached_property
    def _told(self) -> dict[int, int]:
        """{step: groups that were written}."""
        return {event.step: event.groups for event in self.state.rollouts if event.groups is not None}

    def has_checkpoint(self, step: int) -> bool:
        """Is its folder still there?"""
        return self.rundir is not None and self.rundir.checkpoint(step).is_dir()

    def sampled_steps(self, most: int) -> Sequence[int]:
        """At most `most` steps with completions, evenly over the run."""
        found = self.rollout_steps
        if len(found) <= most:
            return found
        return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def _is_mean(name: str, head: str, tail: str) -> bool:
    return name.startswith(head) and name.endswith(tail)


def of(rundir: RunDir, follower: RunFollower | None = None) -> Material:
    """Everything known of a run as it is now. follower: of this run, read on instead of the whole log again."""
    follower = follower or RunFollower(rundir)
    status = launch.status_of(rundir, follower)
    state = follower.state
    try:
        spec: RunSpec | None = rundir.read_spec()
    except (RunError, OSError):  # of another version: the events still tell most
        spec = None
    return made(rundir, state, status, spec)


def made(rundir: RunDir, state: RunState, status: Status, spec: RunSpec | None) -> Material:
    """Of a run that was read already."""
    origin = imported(state)
    damaged = _damaged(rundir)
    plan, wrong = fitting(state.plan or read_json(rundir.plan))
    damaged += [Message("report.missing.file_field", file=rundir.plan.name, field=name) for name in wrong]
    env = read_json(rundir.env) or {}
    if not isinstance(env.get("packages") or {}, dict):
        damaged.append(Message("report.missing.file_field", file=rundir.env.name, field="packages"))
        env["packages"] = {}
    return Material(
        name=rundir.name,
        state=state,
        status=status,
        spec=spec,
        plan=plan,
        env=env,
        known=frozenset(origin.known) if origin is not None else None,
        imported=origin,
        gpu=(origin.gpu if origin is not None else None) or plan.get("gpu_name"),
        rundir=rundir,
        best=find_best(rundir, state),
        damaged=tuple(damaged),
    )


def _damaged(rundir: RunDir) -> list[Message]:
    """Files that were written when the run was created, and cannot be read now."""
    found = []
    for path in (rundir.plan, rundir.env):
        if not os.path.lexists(path):
            found.append(Message("report.missing.file_gone", file=path.name))
        elif read_json(path) is None:
            found.append(Message("report.missing.file_damaged", file=path.name))
    return found
