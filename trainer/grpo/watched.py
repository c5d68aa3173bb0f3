"""What every trainer here does beside its base: time its parts, tell of its steps, publish checkpoints.

Hooked in transformers 5.17 (trainer.py): `training_step`, `create_optimizer`, `log`, `_save_checkpoint`,
`_load_from_checkpoint`; in accelerate 1.15: `Accelerator.backward`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from transformers.trainer_callback import TrainerCallback

from trainer.engine import weights
from trainer.errors import CheckpointError, Problem
from trainer.grpo import reference
from trainer.grpo.spans import Span, Spans
from trainer.run import checkpoints


class Watcher(Protocol):
    """What a trainer tells; trainer.worker.observer.RunObserver writes it to the event log."""

    def step(self, step: int, logs: dict[str, Any], spans: list[Span]) -> None:
        """An optimizer step is done: TRL's metrics as logged and the spans of the step."""

    def checkpoint(self, step: int, staged: Path) -> None:
        """A checkpoint is complete in the staging folder and is to be published."""


class _StepSpan(TrainerCallback):
    """Opens and closes the outermost span of a step; a failed step is closed by Training.watched."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.spans.open("step")

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.spans.close("step")


_Upstream: Any = object  # stands for the base the hooks are mixed into


class Watched(_Upstream):  # type: ignore[misc]  # Any: a trainer of TRL or one that Unsloth generates from it
    """Goes before a trainer class. Its overrides take *args, **kwargs, call super() and copy no upstream body."""

    def __init__(self, *args: Any, spans: Spans, observer: Watcher, **kwargs: Any) -> None:
        self.spans = spans
        self.observer = observer
        super().__init__(*args, **kwargs)
        self.add_callback(_StepSpan(spans))
        # transformers' training_step calls it on the accelerator: there is no method of the trainer to override.
        self.accelerator.backward = self._timed("backward", self.accelerator.backward)

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.spans(name):
                return function(*args, **kwargs)

        return timed

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch forward and backward: gradient_accumulation_steps of them make an optimizer step."""
        with self.spans("training_step"):
            return super().training_step(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        # On torch's own optimizer: accelerate wraps it later, and its step calls this one's.
        optimizer.register_step_pre_hook(lambda *_: self.spans.open("optimizer"))
        optimizer.register_step_post_hook(lambda *_: self.spans.close("optimizer"))
        return optimizer

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        super().log(logs, *args, **kwargs)  # TRL adds its metrics to `logs` in place
        if "loss" in logs:  # a step; the line transformers logs when training ends has none
            self.observer.step(self.state.global_step, dict(logs), self.spans.drain())

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        step = self.state.global_step
        folder, name = Path(self.args.output_dir), checkpoints.checkpoint_name(step)
        with checkpoints.saving(folder, name):
            super()._save_checkpoint(*args, **kwargs)
            self._save_beside(folder / name)
        self.observer.checkpoint(step, folder / name)

    def _save_beside(self, folder: Path) -> None:
        """What a trainer needs of itself after a resume, beside what transformers saves."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        folder = Path(resume_from_checkpoint)
        with reference.same_precision(self.model):  # else a resumed QLoRA run goes on in another one
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        if reference.is_saved_in(folder):
            reference.take(self.model, folder)
        self._load_beside(folder)
        self._refuse_unfinite(folder.name)

    def _load_beside(self, folder: Path) -> None:
        """What `_save_beside` saved."""

    @property
    def has_reference(self) -> bool:
        """The policy is held to the model it started from: by GRPO's KL term, by DPO's loss."""
        return bool(getattr(self, "beta", 0.0))

    def take_adapter(self, folder: Path) -> tuple[list[str], list[str]]:
        """Train the adapter in `folder` further; names of weights that it lacks and of those there is no place for.
        Where there is a reference it is that one, as it is now."""
        odd = reference.take(self.model, folder)
        self._refuse_unfinite(folder.name)
        if self.has_reference:
            reference.freeze_copy(self.model)
        return odd

    def _refuse_unfinite(self, name: str) -> None:
        wrong = weights.unfinite(each for each in self.model.named_parameters() if each[1].requires_grad)
        if wrong:
            raise CheckpointError(Problem("grpo.not_finite", name, names=wrong[:3], count=len(wrong)))
