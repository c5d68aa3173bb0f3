"""python -m trainer.tryit RUN_DIR: the process that answers. The page starts it (trainer.tryit.parent)."""

from __future__ import annotations

import sys

from trainer.run import entrance
from trainer.tryit import worker
from trainer.tryit.parent import IDLE_S


def main() -> int:
    parser = entrance.parser("trainer.tryit", "Answer questions left in files.")
    parser.add_argument("--idle-s", type=float, default=IDLE_S, help="ends after so long without a question")
    given = parser.parse_args()
    return worker.main(given.rundir, given.idle_s)


if __name__ == "__main__":
    sys.exit(main())
