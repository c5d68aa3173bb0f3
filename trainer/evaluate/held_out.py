"""The held-out rows of a run: evaluated before, during and after training, sampled for pass@k, answered at every save.

What was answered with the weights of a step is not answered again: an evaluation, a save and the end of the run may
all fall on the same step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.evaluate import answers
from trainer.evaluate.answering import Answers, Interrupted
from trainer.evaluate.greedy import Score, evaluate, judged
from trainer.evaluate.sampled import Sampled, sample, seed_at
from trainer.grpo.spans import Spans
from trainer.rewards.check import gold
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import held_out_texts
from trainer.run.checkpoints import Checkpoint
from trainer.run.events import EventWriter
from trainer.run.held_out_texts import Answer
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec


@dataclass(frozen=True)
class Measured:
    """With the weights after `step`. sampled: None without eval.pass_at."""

    step: int
    score: Score
    sampled: Sampled | None


class HeldOut:
    """generation_batch: completions that a training has judged within one reward.deadline_s (the plan's
    generation_batch_size). spans: those of the run; an evaluation is no part of a step and leaves none.
    interrupted: somebody asked to stop."""

    def __init__(
        self,
        rundir: RunDir,
        events: EventWriter,
        spec: RunSpec,
        rows: list[dict[str, Any]],
        tokenizer: Any,
        wrapper: ComponentRewardWrapper,
        generation_batch: int,
        spans: Spans,
        interrupted: Interrupted,
    ) -> None:
        self.rundir, self.events, self.spec, self.rows = rundir, events, spec, rows
        self.tokenizer, self.wrapper, self.generation_batch = tokenizer, wrapper, generation_batch
        self.spans, self.interrupted = spans, interrupted
        self.model: Any = None
        self.around: Callable[[], AbstractContextManager[Any]]
        self._newest: Measured | None = None
        self._converse: Callable[[list[dict[str, Any]], int], Answers | None] | None = None

    def attach(self, model: Any, around: Callable[[], AbstractContextManager[Any]]) -> None:
        """The model that answers, known once the trainer is made. around: put around it while it does (autocast)."""
        self.model, self.around = model, around

    def converse(self, answer: Callable[[list[dict[str, Any]], int], Answers | None]) -> None:
        """Rows are answered by episodes. answer: (rows, how many at once)."""
        self._converse = answer

    def evaluate(self, at: str, step: int) -> None:
        """Write the event `eval`; nothing without rows or when a stop was asked for. at: before, during or after."""
        if not self.rows:
            return
        started = time.perf_counter()
        measured = self._measured(step)
        if measured is not None:
            score, sampled, seconds = measured.score, measured.sampled, time.perf_counter() - started
            self._note(step, score)
            self.events.emit(score.event(at, step, seconds, sampled.record() if sampled else None))

    def _note(self, step: int, score: Score) -> None:
        """The first rows with what was answered now, for the page. A disk that is full costs them and nothing else."""
        rows = self.rows[: held_out_texts.MOST_ROWS]
        asked = [(answers.asked(row.get("prompt")) or "", gold(self.spec.reward, row)) for row in rows]
        said = zip(score.texts, score.rewards, score.correct, strict=True)
        with contextlib.suppress(OSError):
            held_out_texts.note(self.rundir, step, asked, [Answer(*each) for each in said][: len(rows)])

    def save(self, step: int, checkpoint: Path) -> None:
        """Beside a published checkpoint of the present weights: its adapter in epoch_E/ and what it answers."""
        if not self.spec.eval.answers:
            return
        label = _label(step, checkpoint)
        # Of an attempt that was killed later than this step: beside the new adapter they would be another model's.
        self.rundir.inference_file(label).unlink(missing_ok=True)
        answers.copy_adapter(checkpoint, self.rundir, label)
        if self._newest is None or self._newest.step != step:
            self.evaluate("during", step)
        if self._newest is not None and self._newest.step == step:
            answers.write(self.rundir, label, self.rows, self._newest.score.texts)

    def catch_up(self, step: int, checkpoint: Path) -> None:
        """After a resume: what the attempt before had no time to write of the checkpoint it ended with."""
        label = _label(step, checkpoint)
        folder, file = self.rundir.epoch_folder(label), self.rundir.inference_file(label)
        if self.spec.eval.answers and not (folder.is_dir() and file.is_file()):
            self.save(step, checkpoint)

    def _measured(self, step: int) -> Measured | None:
        """Of this step, from before where it was measured already; None when a stop was asked for."""
        if self._newest is None or self._newest.step != step:
            self._newest = None
            with self.around():
                score = self._score()
                sampled = self._sampled(step) if score is not None and self.spec.eval.pass_at else None
            self.spans.drain()
            if score is not None:
                self._newest = Measured(step, score, sampled)
                self._say_failed(self._newest)
        return self._newest

    def _say_failed(self, found: Measured) -> None:
        """An answer that nobody could judge says nothing about the model, and the figures alone would hide it."""
        score, sampled = found.score, found.sampled
        if score.failed:
            self._warn("evaluation", found.step, count=score.failed, of=score.rows, said=score.failure)
        if sampled is not None and sampled.failed:
            drawn = len(self.rows) * sampled.samples
            self._warn("evaluation_sampled", found.step, count=sampled.failed, of=drawn, said=sampled.failure)
        if sampled is None and self.spec.eval.pass_at and not self.interrupted():
            self._warn("evaluation_nothing", found.step)

    def _warn(self, key: str, step: int, **values: Any) -> None:
        self.events.emit(AlertEvent.of("warn", key, step=step, **values))

    def _score(self) -> Score | None:
        if self._converse is not None:
            played = self._converse(self.rows, self.spec.eval.batch_size)
            return judged(self.rows, played, self.wrapper, self.generation_batch, self.interrupted)
        return evaluate(
            self.model,
            self.tokenizer,
            self.rows,
            self.wrapper,
            max_completion_length=self.spec.generation.max_completion_length,
            batch_size=self.spec.eval.batch_size,
            reward_batch_size=self.generation_batch,
            chat_template_kwargs=self.spec.trl.get("chat_template_kwargs"),
            interrupted=self.interrupted,
        )

    def _sampled(self, step: int) -> Sampled | None:
        spec, group = self.spec, self.spec.generation.num_generations
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
            reward_batch_size=self.generation_batch,
            seed=seed_at(spec.run.seed, step),
            chat_template_kwargs=spec.trl.get("chat_template_kwargs"),
            interrupted=self.interrupted,
        )


def _label(step: int, checkpoint: Path) -> str:
    """The epoch of a checkpoint, as transformers put it down."""
    return answers.epoch_label(Checkpoint(checkpoint, step).epoch())
