"""Make .venv-unsloth hold Unsloth and what it imports, for the tests that run its real code without a GPU.

    python -m tools.setup_unsloth_cpu        called by `make test`; does nothing, quickly, when it is there

A folder of packages, not an environment: the tests put it behind .venv on the path of their own process. They are
installed without their dependencies, because those bring a CUDA torch and a torchvision that breaks a CPU torch. On a
machine with an NVIDIA driver .venv has Unsloth already and nothing is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys

from tools import setup_env

FOLDER = setup_env.ROOT / ".venv-unsloth"
DONE = FOLDER / ".setup-done"
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
    "nest_asyncio",
    "einops",
    "sentencepiece",
    "protobuf",
]


def main() -> int:
    if setup_env.read_done().get("backend") == "gpu" or not sys.platform.startswith("linux"):
        return 0  # elsewhere triton has no wheel, and the tests that need this are left out
    wanted = [*(pin for pin in _pins() if pin.startswith("unsloth")), *IMPORTED]
    if _stamp() == _fingerprint(wanted):
        return 0
    setup_env.say("installing Unsloth for the tests that run it without a GPU (about 1 GB, most of it triton)")
    try:
        with setup_env.only_one_at_a_time():
            _install(wanted)
    except setup_env.SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


def _pins() -> list[str]:
    pins: list[str] = setup_env.project()["optional-dependencies"]["gpu"]
    return pins


def _fingerprint(wanted: list[str]) -> str:
    parts = [wanted, setup_env.CONSTRAINTS.read_text("utf-8"), os.path.realpath(setup_env.PYTHON)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp() -> str:
    try:
        return DONE.read_text("utf-8")
    except OSError:
        return ""


def _install(wanted: list[str]) -> None:
    """Into a folder beside it, renamed when complete: one that was cut short is never taken for whole."""
    draft = FOLDER.with_name(FOLDER.name + ".unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    problem = setup_env.pip(["--target", str(draft), "--no-deps", *wanted])
    if problem:
        shutil.rmtree(draft, ignore_errors=True)
        raise setup_env.SetupError(f"pip could not install Unsloth for the tests:\n{problem}")
    (draft / DONE.name).write_text(_fingerprint(wanted), "utf-8")
    shutil.rmtree(FOLDER, ignore_errors=True)
    draft.rename(FOLDER)


if __name__ == "__main__":
    sys.exit(main())
