"""A mirror whose W&B never begins, or never comes to an end: python -m tests.mirrors.hanging RUN_DIR ATTEMPT

$HANGS says which: __init__ or finish.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from trainer.mirrors import __main__ as mirror
from trainer.mirrors import feed
from trainer.mirrors.wandb_run import WandbRun


def never(*_: Any) -> None:
    time.sleep(600)


if __name__ == "__main__":
    hangs = os.environ["HANGS"]
    room, name = {"__init__": (mirror, "BEGIN_S"), "finish": (feed, "END_S")}[hangs]
    setattr(room, name, 2.0)
    setattr(WandbRun, hangs, never)
    sys.exit(mirror.main(sys.argv[1], int(sys.argv[2])))
