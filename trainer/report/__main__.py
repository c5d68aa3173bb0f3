"""python -m trainer.report RUN_DIR: write the report of a run that has ended, in every language and form."""

from __future__ import annotations

import sys
from pathlib import Path

from trainer.report.write import after_run
from trainer.run.rundir import RunDir

if __name__ == "__main__":
    after_run(RunDir(Path(sys.argv[1])))
