"""trainer.worker on a device that runs out of memory: python -m tests.e2e.starved_worker RUN_DIR

$STARVE says where (load, generate, logps, loss, backward or optimizer) and $STARVE_ATTEMPTS in how many attempts. The
error is the one PyTorch raises, from inside the real call; in a step it comes once there is a checkpoint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.run.rundir import RunDir
from trainer.worker import __main__ as worker

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.65 GiB."


def starve(owner: Any, name: str, applies: Callable[[], bool]) -> None:
    inner = getattr(owner, name)

    def starving(*args: Any, **kwargs: Any) -> Any:
        if applies():
            raise torch.OutOfMemoryError(SAID)
        return inner(*args, **kwargs)

    setattr(owner, name, starving)


def main(path: str) -> int:
    from transformers import GenerationMixin
    from trl import GRPOTrainer

    from trainer.engine import transformers_engine
    from trainer.fast.update import FastUpdate

    assert "LEFT_BEHIND" not in os.environ, "the attempt before has handed on what its libraries wrote"
    os.environ["LEFT_BEHIND"] = "1"  # as Unsloth does when its log-probabilities are interrupted
    rundir = RunDir(Path(path))
    early = rundir.newest_attempt() <= int(os.environ["STARVE_ATTEMPTS"])
    places = {
        "load": (transformers_engine, "load"),
        "generate": (GenerationMixin, "generate"),
        "logps": (FastUpdate, "_get_per_token_logps_and_entropies"),
        "loss": (GRPOTrainer, "_compute_loss"),
        "backward": (torch.Tensor, "backward"),
        "optimizer": (torch.optim.AdamW, "step"),
    }
    where = os.environ["STARVE"]
    starve(*places[where], lambda: early and (where == "load" or any(rundir.checkpoints.glob("checkpoint-*"))))
    return worker.main(path, "tests.e2e.starved_worker")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
