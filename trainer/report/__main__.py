"""python -m trainer.report RUN_DIR: write the report of a run that has ended, in every language and form."""

from __future__ import annotations

from trainer.report.write import after_run
from trainer.run import entrance

if __name__ == "__main__":
    after_run(entrance.parser("trainer.report", "Write the report of a run that has ended.").parse_args().rundir)
