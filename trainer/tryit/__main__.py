"""python -m trainer.tryit RUN_DIR: the process that answers. The page starts it (trainer.tryit.parent)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trainer.run.rundir import RunDir
from trainer.tryit import worker
from trainer.tryit.parent import IDLE_S


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.tryit", description="Answer questions left in files.")
    parser.add_argument("folder", type=Path, metavar="RUN_DIR")
    parser.add_argument("--idle-s", type=float, default=IDLE_S, help="ends after so long without a question")
    given = parser.parse_args()
    return worker.main(RunDir(given.folder), given.idle_s)


if __name__ == "__main__":
    sys.exit(main())
