"""What the trainer calls at the end of a step: stop or save when asked, room on the disk; and at its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers.trainer_callback import TrainerCallback

from trainer.evaluate import answers
from trainer.run import checkpoints, stop_requests
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.worker.observer import RunObserver


class StopWhenAsked(TrainerCallback):
    """Save and stop at the first generation boundary after the flag is set: only there a resume is exact."""

    def __init__(self, asked: Callable[[], bool], updates_per_phase: int) -> None:
        self.asked = asked
        self.every = updates_per_phase

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.asked() and state.global_step % self.every == 0:
            control.should_save = True
            control.should_training_stop = True


class SaveWhenAsked(TrainerCallback):
    """Save and go on at the first generation boundary after control/save.json was left for this attempt.

    Any checkpoint meets the request, also one that is saved for another reason. step: of the newest step that is done.
    """

    def __init__(self, rundir: RunDir, attempt: int, step: Callable[[], int], updates_per_phase: int) -> None:
        self.rundir = rundir
        self.attempt = attempt
        self.step = step
        self.every = updates_per_phase

    def asked(self) -> bool:
        return stop_requests.save_asked_of(self.rundir, self.attempt) is not None

    def look(self) -> None:
        """Between boundaries: where every step that is done is saved already, there is nothing to wait for."""
        if self.asked() and self.rundir.checkpoint(self.step()).is_dir():  # asked first: a step may end in between
            stop_requests.clear_save_request(self.rundir, self.attempt)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0 and self.asked():
            control.should_save = True

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        # Published: the trainer tells of a save when it is done.
        stop_requests.clear_save_request(self.rundir, self.attempt)


class AtTheStart(TrainerCallback):
    """Calls `act` once, when a training has its weights, those of a checkpoint too, and has not yet changed them."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.act()


class MakeRoom(TrainerCallback):
    """Before a save: a disk that is too full is found while the run can still say so."""

    def __init__(self, observer: RunObserver) -> None:
        self.observer = observer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save:
            observer = self.observer
            beside = answers.copied_size if observer.spec.eval.answers else None
            folder, name = observer.rundir.checkpoints, checkpoints.checkpoint_name(observer.last_step + 1)
            with checkpoints.saving(folder, name):
                deleted = checkpoints.make_room(folder, best=observer.best_step(), beside=beside)
            for name in deleted:
                observer.events.emit(AlertEvent.of("warn", "disk_almost_full", name=name))
