"""Room on the disks: for the checkpoints in outputs/, and for a model that is still to be downloaded.

A run needs room for two checkpoints, whatever its limit: the newest is kept until the next one is complete. Of what
the limit asks beyond that nothing is refused, because rotation and checkpoints.make_room delete the oldest in time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trainer.errors import Problem
from trainer.machine.gpu import GIB
from trainer.machine.project import OUTPUTS_VARIABLE
from trainer.plan import RunPlan
from trainer.preflight import doctor
from trainer.run.outputs import outputs_problem
from trainer.run.rundir import outputs_dir
from trainer.spec import RunSpec
from trainer.text import Message

# As checkpoints.make_room counts before every save: a fifth more than the newest, and this beside it. The tokenizer
# and the manifest are in it.
SPARE_FRAC = 0.2
SPARE_BYTES = 64 * 2**20


def problems(spec: RunSpec, plan: RunPlan, to_download: int) -> Iterator[Problem]:
    """What does not fit. to_download: bytes of the model that are not in the Hub cache yet."""
    outputs, hub = outputs_dir(), doctor.hub_folder(os.environ)
    each = checkpoint_bytes(spec, plan)
    need = _need(plan, each)
    free = _free(outputs)
    unfit = outputs_problem(outputs) or _not_writable(outputs)
    if unfit:
        yield unfit  # how much is free there does not matter
    elif need > free:
        yield _no_room(spec, plan, outputs, _size(need), _size(free))
    if to_download:
        yield from _download(spec, hub, to_download, need if _same_disk(outputs, hub) and need <= free else 0)


def checkpoint_bytes(spec: RunSpec, plan: RunPlan) -> int:
    """Bytes of one checkpoint: trained weights and optimizer states; 0 for a model whose shape is not known."""
    saved = [
        "LoRA adapters" if spec.lora.enabled else "weights",
        "reference adapter",
        "optimizer states",
        "reward model",
    ]
    saved += ["reference model"] if spec.grpo.ref_update_steps is not None else []
    return round(GIB * sum(part.gib for part in plan.memory if part.name in saved))


def _no_room(spec: RunSpec, plan: RunPlan, outputs: Path, need: str, free: str) -> Problem:
    larger = "preflight.larger_disk_or_rank" if spec.lora.enabled else "preflight.larger_disk"
    values = {"need": need, "outputs": str(outputs), "free": free}
    key = "preflight.no_room_for_checkpoints" if _saves(plan) > 1 else "preflight.no_room_for_a_checkpoint"
    return Problem(key, **values, instead=Message(larger, variable=OUTPUTS_VARIABLE))


def _not_writable(outputs: Path) -> Problem | None:
    """Tried with a file that has no name where the system can: permissions do not tell of a disk that is read-only, or
    of one on the network."""
    place = _existing(outputs)
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        values = {"reason": error.strerror, "variable": OUTPUTS_VARIABLE}
        if place == outputs.absolute():
            return Problem("preflight.outputs_closed", str(outputs), **values)
        return Problem("preflight.outputs_closed_above", str(outputs), above=str(place), **values)


def _saves(plan: RunPlan) -> int:
    """Checkpoints on the disk at once: one when the run saves only at its end."""
    return 1 if plan.optimizer_steps is not None and plan.optimizer_steps <= plan.save_steps else 2


def _need(plan: RunPlan, each: int) -> int:
    return round((_saves(plan) + SPARE_FRAC) * each) + SPARE_BYTES


def _download(spec: RunSpec, hub: Path, to_download: int, also: int) -> Iterator[Problem]:
    free = _free(hub)
    if to_download + also <= free:
        return
    values = {"name": spec.model.name, "size": _size(to_download), "hub": str(hub), "free": _size(free)}
    if also:
        yield Problem("preflight.no_room_for_download_and_checkpoints", "model.name", **values, also=_size(also))
    else:
        yield Problem("preflight.no_room_for_download", "model.name", **values)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if os.path.isdir(place))


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _same_disk(one: Path, other: Path) -> bool:
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
