"""trainer.worker with a weight sync that does nothing: python -m tests.vllm_cpu.stale_worker RUN_DIR

vLLM then goes on with the weights it has read from disk, with finite losses and calm curves.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from trainer.grpo import vllm_rollouts
    from trainer.worker import __main__ as worker

    vllm_rollouts.Rollouts.sync_weights = lambda self: None  # type: ignore[method-assign]
    sys.exit(worker.main(sys.argv[1], "tests.vllm_cpu.stale_worker"))
