"""Going on from an older checkpoint: what is newer stops counting and is not lost.

Called by trainer.launch under the start lock, so that the worker, and a retry of it that ran out of memory, simply
find the chosen checkpoint as the newest. Torch-free.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from trainer.run import checkpoints
from trainer.run.best import SCORES
from trainer.run.checkpoints import Checkpoint
from trainer.run.rundir import RunDir

# What `eval.answers` writes at every save: the adapter and the held-out rows' answers.
SAVED = re.compile(r"(?:epoch_|inference_epoch)(\d+(?:\.\d+)?)(?:\.json)?")
_ROUNDED = 0.00005  # the label of an epoch has four decimals at most (trainer.evaluate.answers.epoch_label)


def go_back(rundir: RunDir, chosen: Checkpoint) -> list[str]:
    """Set everything newer than `chosen` aside; the names of what was, [] when it is the newest already.

    Checkpoints become checkpoints/aside-checkpoint-N-TIME, newest first: cut short, an older one is the newest and
    the same command goes on. Folders and answers of later epochs move to aside-TIME/ of the run with scores.json,
    which was computed from them. Rollouts stay: the steps that are trained again replace theirs.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    moved = []
    for newer in reversed(checkpoints.listed(rundir.checkpoints)):
        if newer.step > chosen.step:
            checkpoints.set_aside(rundir.checkpoints, newer.path.name, "aside")
            moved.append(newer.path.name)
    later = _later(rundir, chosen)
    if (moved or later) and (rundir.path / SCORES).is_file():
        later.append(rundir.path / SCORES)
    aside = rundir.path / f"aside-{stamp}"
    for path in later:
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
        moved.append(path.name)
    return moved


def _later(rundir: RunDir, chosen: Checkpoint) -> list[Path]:
    epoch = chosen.epoch()
    named = [(SAVED.fullmatch(path.name), path) for path in sorted(rundir.path.iterdir())]
    return [path for match, path in named if match and float(match[1]) > epoch + _ROUNDED]
