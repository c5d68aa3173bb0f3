"""Where the mirrors of a run keep what is theirs: one file of each kind a service. W&B's have the names of old runs.

control/mirror.json  mirror_SERVICE.json      what the newest mirror says of itself (trainer.mirrors.note)
control/mirror.lock  mirror_SERVICE.lock      held while it sends rows
logs/mirror_1.log    mirror_SERVICE_1.log     raw output, one an attempt
wandb/               SERVICE/                 what the service itself writes
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.run.rundir import RunDir

WANDB, TENSORBOARD, TRACKIO = "wandb", "tensorboard", "trackio"
NAMES = {WANDB: "W&B", TENSORBOARD: "TensorBoard", TRACKIO: "Trackio"}
"""Every service under its name in log.mirrors: as its makers write it."""


def note(run: RunDir, service: str) -> Path:
    return run.mirror if service == WANDB else run.control / f"mirror_{service}.json"


def notes(run: RunDir) -> Iterator[Path]:
    """Of all services, whether or not the run has them."""
    return (note(run, service) for service in NAMES)


def lock(run: RunDir, service: str) -> Path:
    return run.mirror_lock if service == WANDB else run.control / f"mirror_{service}.lock"


def log(run: RunDir, service: str, attempt: int) -> Path:
    return run.mirror_log(attempt) if service == WANDB else run.logs / f"mirror_{service}_{attempt}.log"


def folder(run: RunDir, service: str) -> Path:
    return run.path / service
