"""The held-out rows of a run: evaluated before, during and after training, sampled for pass@k, answered at every save.

What was answered with the weights of a step is not answered again: an evaluation, a save and the end of the run may
all fall on the same step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.evaluate import answers
from trainer.evaluate.greedy import Score, evaluate
from trainer.evaluate.sampled import Sampled, sample, seed_at
from trainer.events import EventWriter
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.rundir import RunDir
from trainer.spec import RunSpec


class HeldOut:
    """around: put around the model while it answers (autocast). interrupted: somebody asked to stop."""

    def __init__(
        self,
        rundir: RunDir,
        events: EventWriter,
        spec: RunSpec,
        rows: list[dict[str, Any]],
        tokenizer: Any,
        wrapper: ComponentRewardWrapper,
        interrupted: Callable[[], bool],
    ) -> None:
        self.rundir, self.events, self.spec, self.rows = rundir, events, spec, rows
        self.tokenizer, self.wrapper, self.interrupted = tokenizer, wrapper, interrupted
        self.model: Any = None
        self.around: Callable[[], AbstractContextManager[Any]]
        self._newest: tuple[int, Score] | None = None

    def attach(self, model: Any, around: Callable[[], AbstractContextManager[Any]]) -> None:
        """The model that answers, known once the trainer is made."""
        self.model, self.around = model, around

    def evaluate(self, at: str, step: int) -> None:
        """Write the event `eval`; nothing without rows or when a stop was asked for. at: before, during or after."""
        if not self.rows:
            return
        started = time.perf_counter()
        score = self._score(step)
        sampled = self._sampled(step) if score is not None and self.spec.eval.pass_at else None
        if score is not None:
            facts = score.facts() | ({"sampled": asdict(sampled)} if sampled else {})
            self.events.emit("eval", at=at, step=step, seconds=time.perf_counter() - started, **facts)

    def save(self, step: int, checkpoint: Path) -> None:
        """Beside a published checkpoint of the present weights: its adapter in epoch_E/ and what it answers."""
        if not self.spec.eval.answers:
            return
        label = _label(checkpoint)
        answers.copy_adapter(checkpoint, self.rundir, label)
        known = self._newest is not None and self._newest[0] == step
        if not known:
            self.evaluate("during", step)
        if self._newest is not None and self._newest[0] == step:
            answers.write(self.rundir, label, self.rows, self._newest[1].texts)

    def catch_up(self, step: int, checkpoint: Path) -> None:
        """After a resume: what the attempt before had no time to write of the checkpoint it ended with."""
        label = _label(checkpoint)
        folder, file = self.rundir.epoch_folder(label), self.rundir.inference_file(label)
        if self.spec.eval.answers and not (folder.is_dir() and file.is_file()):
            self.save(step, checkpoint)

    def _score(self, step: int) -> Score | None:
        if self._newest is None or self._newest[0] != step:
            with self.around():
                score = evaluate(
                    self.model,
                    self.tokenizer,
                    self.rows,
                    self.wrapper,
                    max_completion_length=self.spec.generation.max_completion_length,
                    batch_size=self.spec.eval.batch_size,
                    chat_template_kwargs=self.spec.trl.get("chat_template_kwargs"),
                    interrupted=self.interrupted,
                )
            self._newest = None if score is None else (step, score)
        return None if self._newest is None else self._newest[1]

    def _sampled(self, step: int) -> Sampled | None:
        spec, group = self.spec, self.spec.generation.num_generations
        with self.around():
            return sample(
                self.model,
                self.tokenizer,
                self.rows,
                self.wrapper,
                samples=spec.eval.samples or max([group, *spec.eval.pass_at]),
                ks=spec.eval.pass_at,
                group=group,
                generation=spec.generation,
                generation_kwargs=spec.trl.get("generation_kwargs"),
                batch_size=spec.eval.batch_size,
                seed=seed_at(spec.run.seed, step),
                chat_template_kwargs=spec.trl.get("chat_template_kwargs"),
                interrupted=self.interrupted,
            )


def _label(checkpoint: Path) -> str:
    """The epoch of a checkpoint, as transformers put it down."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return answers.epoch_label(state["epoch"] or 0.0)
