"""Make .venv-unsloth hold Unsloth and what it imports, for the tests that run its real code without a GPU.

    python -m tools.setup_unsloth_cpu        called by `make test`; does nothing, quickly, when it is there

A layer (tools/layers.py): Unsloth's dependencies would bring a CUDA torch and a torchvision that breaks a CPU torch. On
a machine with an NVIDIA driver .venv has Unsloth already and nothing is made.
"""

from __future__ import annotations

import sys

from tools import layers, setup_env

FOLDER = setup_env.ROOT / ".venv-unsloth"
# What `import unsloth` needs beside the packages of .venv; versions are in constraints.txt.
IMPORTED = [
    "triton",
    "cut_cross_entropy",
    "tyro",
    "docstring_parser",
    "typeguard",
    "hf_transfer",
    "diffusers",
    "importlib_metadata",
    "zipp",
    "msgspec",
    "torchao",
    "structlog",
    "json5",
    "nest_asyncio",
    "einops",
    "sentencepiece",
    "protobuf",
]


def main() -> int:
    if setup_env.read_done().get("backend") == "gpu" or not sys.platform.startswith("linux"):
        return 0  # elsewhere triton has no wheel, and the tests that need this are left out
    pins: list[str] = setup_env.project()["optional-dependencies"]["gpu"]
    wanted = [*(pin for pin in pins if pin.startswith("unsloth")), *IMPORTED]
    what = "Unsloth for the tests that run it without a GPU (about 1 GB, most of it triton)"
    return layers.Layer(FOLDER, wanted, setup_env.CONSTRAINTS, what).make()


if __name__ == "__main__":
    sys.exit(main())
