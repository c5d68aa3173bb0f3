"""trainer.worker that dies, as by kill -9, once its first checkpoint is there.

python -m tests.vllm_cpu.killed_worker RUN_DIR
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

if __name__ == "__main__":
    from trainer.worker import __main__ as worker
    from trainer.worker.observer import RunObserver

    publish = RunObserver.checkpoint

    def publish_and_die(self: Any, *args: Any) -> None:
        publish(self, *args)
        os.kill(os.getpid(), signal.SIGKILL)

    RunObserver.checkpoint = publish_and_die  # type: ignore[method-assign,assignment]
    sys.exit(worker.main(sys.argv[1], "tests.vllm_cpu.killed_worker"))
