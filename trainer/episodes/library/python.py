"""Python in a sandbox."""

from __future__ import annotations

from trainer.errors import RewardError
from trainer.rewards import sandbox

TIMEOUT_S = 5.0
MEMORY_MB = 256
OUTPUT = 4000
"""Characters of what a program printed that are told."""


class Python:
    """Runs programs that the model writes (trainer/rewards/sandbox.py: bubblewrap, Linux): no network, no files, and
    nothing stays from one program to the next. It pays nothing: what the model answers is for the other rewards."""

    def reset(self) -> None:
        """Raises RewardError where there is no sandbox: nothing is run without one."""
        problem = sandbox.trouble()
        if problem is not None:
            raise RewardError(problem)

    def run(self, code: str) -> str:
        """Run a Python program.

        Args:
            code: The program; what it prints is the answer.
        """
        done = sandbox.run(str(code), timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB, output_bytes=4 * OUTPUT)
        if done.reason != "exited":
            return f"stopped: {'it took too long' if done.reason == 'timeout' else 'it printed too much'}"
        if done.ok:
            return done.stdout[:OUTPUT] or "it printed nothing"
        return (done.stdout + done.stderr)[-OUTPUT:] or f"exit code {done.exit_code}"
