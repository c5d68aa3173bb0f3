"""The process that starts the runs that wait: python -m trainer.console.queue_starter OUTPUTS

One of an outputs folder, while something waits there. It looks whether a run is going, starts the next one when none
is, and ends when nothing is left. A process of its own: no page, console or worker has to be there or waits for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from trainer.launch import queue
from trainer.launch.attempts import WorkerHandle
from trainer.tryit import parent

POLL_S = 2.0


def main(outputs: Path) -> int:
    lock = queue.hold_starter_lock(outputs)
    if lock is None:
        return 0
    started: list[WorkerHandle] = []
    while True:
        started = [handle for handle in started if handle.poll() is None]  # so that none stays a zombie
        if queue.some_wait(outputs):
            if not queue.going(outputs):
                parent.free_gpu(outputs)
                if (handle := queue.start_next(outputs)) is not None:
                    started.append(handle)
        else:
            lock.release()
            if not queue.some_wait(outputs):  # else one came while somebody else saw the lock taken
                return 0
            if not lock.take("starter"):
                return 0
        time.sleep(POLL_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m trainer.console.queue_starter", description="Starts runs that wait."
    )
    parser.add_argument("outputs", type=Path)
    sys.exit(main(parser.parse_args().outputs))
