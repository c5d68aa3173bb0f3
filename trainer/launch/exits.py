"""Exit codes: how a worker, and with it the whole command, ends."""

from __future__ import annotations

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_OUT_OF_MEMORY = 3  # of a worker; the command that follows it goes on with the next attempt, or ends with 1
EXIT_STOPPED = 130
