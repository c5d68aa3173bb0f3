"""trainer.worker with Unsloth on the CPU: python -m tests.unsloth_cpu.worker RUN_DIR

The worker is the project's own from its first line to its last; only the engine's choice is forced, because `resolve`
gives Unsloth to nobody without a GPU. $UNSLOTH_CPU_CACHE is where the generated trainers go.
"""

from __future__ import annotations

import os
import sys

from tests.unsloth_cpu import stand_in
from trainer.engine import interface

if __name__ == "__main__":
    stand_in.install(os.environ["UNSLOTH_CPU_CACHE"])

    from trainer import engine
    from trainer.worker import __main__ as worker

    engine.resolve = lambda spec: interface.Choice("unsloth", "cpu", "float32")
    sys.exit(worker.main(sys.argv[1], "tests.unsloth_cpu.worker"))
