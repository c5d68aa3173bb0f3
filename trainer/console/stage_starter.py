"""The process that starts the next stage of a run that has finished: python -m trainer.console.stage_starter RUN_DIR

Left behind by the worker, which has the environment of the training and not that of a start. It waits for that one to
end, so that the GPU is free, starts the next, and ends.
"""

from __future__ import annotations

import sys
import time

from trainer.console.printing import put
from trainer.errors import TrainerError
from trainer.launch import chain
from trainer.machine import notes
from trainer.run import entrance
from trainer.run.rundir import RunDir

WAIT_S = 60.0
POLL_S = 0.1


def main(rundir: RunDir) -> int:
    deadline = time.monotonic() + WAIT_S
    while (worker := notes.process(rundir.identity)) and worker.alive() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    try:
        chain.go_on(rundir)
    except (TrainerError, OSError) as error:  # a resume by the name of the whole tries it again, and says it
        put(f"error: {error}", sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(entrance.parser("trainer.console.stage_starter", "Starts the next stage.").parse_args().rundir))
