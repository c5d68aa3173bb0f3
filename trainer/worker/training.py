"""One training put together: config, rewards, CustomGRPOTrainer, observer, evaluation, signs of life.

Imports torch, transformers and TRL; only the worker imports it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerState, set_seed
from trl import GRPOConfig, GRPOTrainer

from trainer.data import difficulty
from trainer.data.dataset import Prepared, prompt_ids
from trainer.engine import builtin
from trainer.engine.interface import Choice, Loaded
from trainer.errors import CheckpointError, EngineError, Problem, RewardError, TrainerError
from trainer.evaluate.answering import retelling
from trainer.evaluate.held_out import HeldOut
from trainer.grpo import config, policy_sync
from trainer.grpo.memory_probe import Probe, ProbeMemory
from trainer.grpo.plans import Plans
from trainer.grpo.spans import Spans
from trainer.grpo.trainer import make_trainer_class
from trainer.machine.environment import PACKAGES, package_version
from trainer.plan import RunPlan
from trainer.rewards import check as reward_check
from trainer.rewards.scan import scan
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import checkpoints, settings, start_files
from trainer.run.records import AlertEvent, PhaseEvent, PlanEvent
from trainer.sampling.sampler import Sampler, Size
from trainer.spec import Reward, RunSpec
from trainer.text import Message
from trainer.worker import learning
from trainer.worker.callbacks import AtTheStart, MakeRoom, SaveWhenAsked, StopWhenAsked
from trainer.worker.heartbeat import Heartbeat
from trainer.worker.observer import RunObserver

if TYPE_CHECKING:
    from trainer.worker.session import Session


class Training:
    """Everything that trains, ready to go. Raises EngineError when the config is not what the preset chose."""

    held_out_class: type[HeldOut] = HeldOut

    def __init__(
        self,
        session: Session,
        spec: RunSpec,
        plan: RunPlan,
        choice: Choice,
        loaded: Loaded,
        data: Prepared,
        pieces: int = 1,
    ) -> None:
        self.session, self.spec, self.plan, self.data, self.pieces = session, spec, plan, data, pieces
        # The rows are known, and so are the steps; of a method that writes its examples, once these are there.
        assert plan.optimizer_steps is not None or spec.samples_first
        steps = plan.optimizer_steps or 0
        self.tokenizer = loaded.tokenizer
        self.spans = Spans(sync=_sync(spec, choice))
        self.wrapper = ComponentRewardWrapper(builtin.judging(spec), self.spans, pooled=True)
        self.manifest: dict[str, Any] = {
            "run": session.rundir.name,
            "data": data.report.fingerprint,
            "held_out": data.report.held_out_fingerprint,
            "model": loaded.source,
            "versions": {name: package_version(name) for name in PACKAGES},
            "reward_files": _hashes(spec.reward),
            **settings.recorded(session.rundir.read_spec()),  # as it was chosen, not in smaller pieces
        }
        self.held_out = self.held_out_class(
            session.rundir,
            session.events,
            spec,
            data.held_out,
            loaded.tokenizer,
            self.wrapper,
            plan.generation_batch_size,
            self.spans,
            session.flag,
        )
        self.observer = RunObserver(
            session.rundir, session.events, spec, steps, self.held_out.evaluate, self.held_out.save, self.manifest
        )
        self.save_when_asked = SaveWhenAsked(
            session.rundir, session.events.attempt, lambda: self.observer.last_step, plan.updates_per_phase
        )
        self.trainer = self._make_trainer(choice, loaded)
        # Before training nothing else puts autocast around the model.
        self.held_out.attach(self.trainer.model, self.trainer.accelerator.autocast)
        self._add_callbacks()
        self.choice = choice
        self.announce()

    def _add_callbacks(self) -> None:
        if self.spec.run.memory_probe:
            self.trainer.add_callback(ProbeMemory(self.trainer, self._longest_prompt(), self._probed, self._stop))
        self.trainer.add_callback(AtTheStart(self.measure))

    def _make_trainer(self, choice: Choice, loaded: Loaded) -> Any:
        spec, chosen = self.spec, self._chosen(choice)
        return self._put_together(
            make_trainer_class(GRPOTrainer),
            GRPOConfig,
            chosen,
            loaded,
            reward_funcs=self.wrapper.objectives() if chosen["reward_weights"] else [self.wrapper],
            train_dataset=self.data.train,
            pieces=self.pieces,
            advantage="online_rft" if spec.run.method == "online_rft" else spec.grpo.advantage,
            sampler=self._sampler(),
            ref_update_steps=self.plan.ref_update_steps,
            learner=learning.of(spec, self.plan, self.wrapper, self.session.events),
            plans=Plans.of(spec.episode, self.data.train.column_names, self.tokenizer),
            fast=spec.run.fast,
            tell=self._tell_fast,
        )

    def _chosen(self, choice: Choice) -> dict[str, Any]:
        """Arguments of GRPOConfig."""
        staging = self.session.rundir.staging
        return config.choose(
            self.spec, self.plan, staging, device=choice.device, dtype=choice.dtype, engine=choice.engine
        )

    def _put_together(
        self, trainer_class: type, config_class: type, chosen: dict[str, Any], loaded: Loaded, **arguments: Any
    ) -> Any:
        """The trainer, which holds what was chosen. Raises EngineError where it does not."""
        wanted = config.expected(chosen, config_class)
        args = config.build(chosen, config_class)
        self._say_corrected(config.correct(args, wanted))
        _refuse(config_class.__name__, config.differences(args, wanted))
        if self.pieces > 1 and hasattr(args, "unsloth_grpo_mini_batch"):  # else Unsloth sizes it by free memory
            args.unsloth_grpo_mini_batch = args.per_device_train_batch_size
        set_seed(self.spec.run.seed)  # the adapter's initial weights, drawn before transformers seeds
        trainer = trainer_class(
            model=loaded.model,
            args=args,
            processing_class=loaded.tokenizer,
            peft_config=loaded.peft_config,
            callbacks=[
                StopWhenAsked(self.session.flag, self.plan.updates_per_phase),
                self.save_when_asked,
                MakeRoom(self.observer),
            ],
            spans=self.spans,
            observer=self.observer,
            **arguments,
        )
        _refuse(config_class.__name__, config.differences(trainer.args, wanted))
        _refuse("Accelerator", config.accelerate_differences(trainer.accelerator, trainer.args))
        trainer.remove_callback(PrinterCallback)  # the event log says it better
        return trainer

    def _sampler(self) -> Sampler | None:
        """None for all rows in their turn: TRL's dataloader brings them."""
        spec, plan, settings = self.spec, self.plan, self.spec.sampling
        if not settings.is_on:
            return None
        column = settings.difficulty
        there = column in self.data.train.column_names
        hardness = difficulty.numbers(self.data.train[column], settings) if there else None
        size = Size(len(self.data.train), plan.num_generations, plan.prompts_per_phase, self.observer.steps)
        return Sampler(settings, size, spec.run.seed, spec.data.shuffle_dataset, hardness)

    def measure(self) -> None:
        """Pass rates of all training rows, where a curriculum follows from them; after a resume they are known."""
        rounds = self.trainer.rounds
        if rounds is None or not rounds.sampler.awaits_rates:
            return
        with self.session.phase("pass_rates", f"{self.spec.sampling.measure} completions of each row"):
            found = rounds.pass_rates(self.spec.sampling.measure, self._stop)
        rounds.sampler.measured(found)
        self.spans.drain()
        self.session.events.emit(
            AlertEvent.of(
                "info",
                "pass_rates",
                rows=len(found),
                each=self.spec.sampling.measure,
                right=sum(rate == 1 for rate in found) / len(found),
                wrong=sum(rate == 0 for rate in found) / len(found),
                levels=[len(rows) for rows in rounds.sampler.levels],
            )
        )

    def _say_corrected(self, changed: list[tuple[str, Any, Any]]) -> None:
        key = "alert.engine_defaults.change"
        changes = [Message(key, name=name, wanted=repr(wanted), found=repr(found)) for name, wanted, found in changed]
        if changes:
            self.session.events.emit(AlertEvent.of("info", "engine_defaults", changes=changes))

    def announce(self) -> None:
        """Say in the event log what really trains: a failed patch must not pass unseen."""
        choice = self.choice
        self.session.events.emit(
            PlanEvent(
                plan=self.plan.model_dump(mode="json"),
                data=self.data.report.as_dict(),
                engine=choice.engine,
                device=choice.device,
                dtype=choice.dtype,
                why=choice.why.stored(),
                trainer_class=type(self.trainer).__name__,
                trainer_bases=_bases(type(self.trainer)),
            )
        )
        if self.spec.run.fast == "auto" and not self.spec.is_supervised:
            self._tell_fast(*self.trainer.fast_parts())

    def _tell_fast(self, *parts: Message) -> None:
        self.session.events.emit(AlertEvent.of("info", "fast", parts=list(parts)))

    def check_rewards(self) -> None:
        """Try the rewards on rows of the data. Raises RewardError where they cannot be used; warns of the rest."""
        rows = [self.data.train[row] for row in range(min(3, len(self.data.train)))]
        told = retelling(self.tokenizer, self.spec.trl.get("chat_template_kwargs"))
        found = reward_check.trial(self.wrapper, rows, retelling=told)
        if found.problems:
            raise RewardError(found.problems)
        said_of_all = scan(self.wrapper, self.data.train, told)
        self.spans.drain()
        for said in [*found.warnings, *said_of_all]:
            self.session.events.emit(AlertEvent.of("warn", "rewards", said=said))

    def check_policy(self) -> None:
        """Raises EngineError when the rollouts are not written by the weights that are trained."""
        with self.session.phase("policy_probe"):
            some = [self.data.train[row] for row in range(min(64, len(self.data.train)))]
            evidence = policy_sync.check(self.trainer, some)
            self.session.events.emit(AlertEvent.of("info", "policy_sync", evidence=evidence))
            self.spans.drain()

    def _longest_prompt(self) -> list[int]:
        row = self.data.train[self.data.report.longest_prompt_row]
        return prompt_ids(row["prompt"], self.tokenizer, self.spec.trl.get("chat_template_kwargs"))

    def _stop(self) -> None:
        self.session.flag.look()
        self.session.flag.check()

    def _probed(self, found: Probe | Exception | None) -> None:
        emit = self.session.events.emit
        if found is None:
            emit(PhaseEvent(name="memory_probe", state="start", detail="run.memory_probe=false leaves it out"))
            return
        emit(PhaseEvent(name="memory_probe", state="end", seconds=getattr(found, "seconds", None), detail=""))
        self.spans.drain()
        self.spans.failed_in = None
        if isinstance(found, Exception):
            emit(AlertEvent.of("warn", "memory_probe_failed", said=f"{type(found).__name__}: {found}"))
            return
        emit(AlertEvent.of("info", "memory_probe", **self._peaks(found)))

    def _peaks(self, found: Probe) -> dict[str, Any]:
        """Values of the alert: the readings in GiB, and those that are known as parts of the sentence."""
        states = sum(part.gib for part in self.plan.memory if part.name == "optimizer states")
        read = {"generation_gib": found.generation_gib, "update_gib": found.update_gib}
        gib = {
            "generating": found.generation_gib,
            "updating": found.update_gib,
            "states": states if states >= 0.005 and not found.has_states else None,
            "estimated": self.plan.memory_total_gib or None,
            "card": self.plan.gpu_total_gib or None,
        }
        parts = [Message(f"alert.memory_probe.{name}", gib=value) for name, value in gib.items() if value is not None]
        return {"parts": parts, "seconds": found.seconds, **read}

    def _look(self) -> None:
        """For requests on the disk, and at the mirrors."""
        self.session.flag.look()
        self.save_when_asked.look()
        for mirror in self.session.mirrors:
            mirror.look(self.session.events, self.observer.last_step)

    def check_same(self, resumed: checkpoints.Checkpoint | None) -> None:
        """Raises CheckpointError when rows or base weights are not the checkpoint's; other versions are only said."""
        if resumed is None:
            return
        saved = checkpoints.read_manifest(resumed.path)
        if saved["data"] != self.data.report.fingerprint:
            if not settings.any_rows(self.session.rundir):
                values = {"checkpoint": resumed.path.name, "name": self.session.rundir.name}
                raise CheckpointError(Problem("worker.rows_changed", "data", **values))
            self.session.events.emit(AlertEvent.of("warn", "rows_changed", checkpoint=resumed.path.name))
        if saved["model"] != self.manifest["model"]:
            models = {"now": self.manifest["model"], "before": saved["model"]}
            raise CheckpointError(
                Problem("worker.weights_changed", "model.name", checkpoint=resumed.path.name, **models)
            )
        if saved.get("held_out", self.manifest["held_out"]) != self.manifest["held_out"]:
            self.session.events.emit(AlertEvent.of("warn", "held_out_changed", checkpoint=resumed.path.name))
        files, now = self.manifest["reward_files"], self.manifest["versions"]
        changed = [name for name, was in saved.get("reward_files", files).items() if was not in files.values()]
        if changed:
            self.session.events.emit(AlertEvent.of("warn", "reward_file_changed", files=changed))
        other = [f"{name} {was} -> {now.get(name)}" for name, was in saved["versions"].items() if was != now.get(name)]
        if other:
            self.session.events.emit(AlertEvent.of("warn", "other_versions", changes=other))

    def start_from(self, noted: dict[str, Any] | None, resumed: checkpoints.Checkpoint | None) -> None:
        """Take over the adapter that is kept in the run's folder; noted: what is known of it. A resumed run needs it
        for the reference. Raises EngineError where it was trained on other weights or has other layers."""
        if noted is None:
            return
        was, now = noted.get("trained_on"), self.manifest["model"]
        if was not in (None, now):
            raise EngineError(Problem("worker.adapter_of_other_weights", start_files.PLACE, was=str(was), now=now))
        try:
            missing, unexpected = self.trainer.take_adapter(self.session.rundir.start)
        except (RuntimeError, ValueError, OSError) as error:
            if isinstance(error, TrainerError):
                raise
            said = " ".join(str(error).split())[:300]
            raise EngineError(Problem("worker.adapter_not_loaded", start_files.PLACE, said=said)) from error
        for key, names in (("adapter_lacks", missing), ("adapter_has_more", unexpected)):
            if names:
                raise EngineError(Problem(f"worker.{key}", "lora.target_modules", count=len(names), names=names[:2]))
        if resumed is None:
            kind = "reference" if self.trainer.has_reference else "alone"
            reference = Message(f"alert.started_from.{kind}")
            self.session.events.emit(
                AlertEvent.of("info", "started_from", start=start_files.message(noted), reference=reference)
            )

    def train(self, resumed: checkpoints.Checkpoint | None) -> None:
        """Train to the last step. A checkpoint of the last step is only loaded: transformers would train one more."""
        self.observer.last_step = resumed.step if resumed else 0
        self._make_ready(resumed)
        if resumed is not None:
            self.trainer.add_callback(AtTheStart(lambda: self.held_out.catch_up(resumed.step, resumed.path)))
        if resumed is None or resumed.step < self.observer.steps:
            self.trainer.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
            return
        self.trainer._load_from_checkpoint(str(resumed.path))
        self.trainer.state = TrainerState.load_from_json(str(resumed.state))
        self.observer.tokens = self.trainer.state.num_input_tokens_seen
        self.held_out.catch_up(resumed.step, resumed.path)

    def _make_ready(self, resumed: checkpoints.Checkpoint | None) -> None:
        """What has to be there before the first step."""
        if resumed is not None and self.trainer.rounds is not None:
            self.trainer.rounds.load(resumed.path)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Signs of life and a look for requests while the body runs; a step that fails leaves its spans."""
        heart = Heartbeat(
            self.session.events,
            self.spec.log.heartbeat_s,
            lambda: self.observer.last_step,
            self._look,
        )
        heart.start()
        try:
            yield
        except BaseException:
            self.spans.close("step", ok=False)
            self.session.failed_in = self.spans.failed_in
            self.observer.failed_step(self.spans.drain())
            raise
        finally:
            heart.stop()
            self.wrapper.close()


def _bases(trainer_class: type) -> list[str]:
    """What it is made from, without what is ours."""
    theirs = [base for base in trainer_class.__mro__[1:] if not base.__module__.startswith("trainer.")]
    return [f"{base.__module__}.{base.__name__}" for base in theirs[:3]]


def _hashes(reward: Reward) -> dict[str, str]:
    """{name of a person's reward file: sha256}."""
    files = {Path(leaf.file) for leaf in reward.leaves() if leaf.file is not None}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def _refuse(owner: str, wrong: list[tuple[str, Any, Any]]) -> None:
    """Raises EngineError naming everything that does not hold what the preset chose."""
    if wrong:
        raise EngineError(
            Problem("worker.argument", f"{owner}.{name}", found=repr(found), wanted=repr(value))
            for name, value, found in wrong
        )


def _sync(spec: RunSpec, choice: Choice) -> Any:
    return torch.cuda.synchronize if spec.log.exact_spans and choice.device == "cuda" else None
