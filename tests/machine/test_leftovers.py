"""What a shell may hold stays out of a run, and what people set for their machine stays in."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.machine import leftovers, spawn

# Read by the modules below and of no account for what is trained in one process of ours, each with why.
OF_NO_ACCOUNT = {
    "NCCL_P2P_DISABLE": "speed between several GPUs",
    "NCCL_IB_DISABLE": "the same",
    "OMP_NUM_THREADS": "people set it; model.cpu_threads wins",
    "PT_HPU_LAZY_MODE": "Gaudi",
}


def read_by_accelerate() -> set[str]:
    """Names in the modules that decide what is built; `env_prefix + "X"` with the prefixes of the module."""
    found, spec = set(), importlib.util.find_spec("accelerate")  # not imported: torch would come with it
    assert spec is not None and spec.origin is not None
    for name in ("state.py", "accelerator.py", "parallelism_config.py", "utils/dataclasses.py", "utils/environment.py"):
        tree = ast.parse((Path(spec.origin).parent / name).read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            prefixes = {
                node.value.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                and getattr(node.targets[0], "id", "").endswith("prefix")
            }  # fmt: skip
            for node in ast.walk(function):
                asked = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if not asked.endswith(("environ.get", "parse_flag_from_env", "parse_choice_from_env", "_int_from_env")):
                    continue
                [first, *_] = node.args  # type: ignore[attr-defined]
                if isinstance(first, ast.BinOp):
                    found |= {str(prefix) + ast.literal_eval(first.right) for prefix in prefixes}
                elif not isinstance(first, ast.Name):
                    known = ast.literal_eval(first)
                    found |= set(known) if isinstance(known, list) else {known}
    return found


def test_every_variable_that_accelerate_builds_by_is_left_out() -> None:
    known = read_by_accelerate() - OF_NO_ACCOUNT.keys()
    assert {"ACCELERATE_MIXED_PRECISION", "FSDP_VERSION", "MEGATRON_LM_TP_DEGREE", "OMPI_COMM_WORLD_RANK"} <= known
    assert known & leftovers.without(dict.fromkeys(known, "1")).keys() == set()


MINE = {
    "CUDA_VISIBLE_DEVICES": "1", "HF_HOME": "/h", "HF_TOKEN": "t", "OMP_NUM_THREADS": "2", "PATH": "/bin",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "WANDB_PROJECT": "p",
    "TORCH_HOME": "/t", "TRITON_CACHE_DIR": "/c", "NCCL_DEBUG": "INFO", "UNSLOTH_COMPILE_DISABLE": "1",
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "info", "RANKING": "1", "MY_WORLD_SIZE": "3",
}  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
        ("TORCHELASTIC_RUN_ID", "GROUP_RANK", "ROLE_NAME", "LOCAL_WORLD_SIZE"),
        ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_SOMETHING_NEW"),
        ("CUDA_LAUNCH_BLOCKING", "PYTORCH_NO_CUDA_MEMORY_CACHING", "NVIDIA_TF32_OVERRIDE"),
        ("XLA_USE_BF16", "SM_HP_MP_PARAMETERS", "ONEDNN_DEFAULT_FPMATH_MODE"),
        (),
    ],
)
def test_leftovers_go_and_are_named_and_the_rest_stays(names: tuple[str, ...]) -> None:
    kept = leftovers.without({**MINE, **dict.fromkeys(names, "1")})
    assert leftovers.left_out(kept) == sorted(names)
    assert {name: value for name, value in kept.items() if name != leftovers.LEFT_OUT} == MINE
    assert leftovers.without(kept) == kept  # a process that is started by one that was cleared knows the same


def test_clear_takes_them_out_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"ACCELERATE_MIXED_PRECISION": "bf16", "HF_HOME": "/h"}
    monkeypatch.setattr(leftovers, "os", SimpleNamespace(environ=held))
    leftovers.clear()
    assert held == {"HF_HOME": "/h", leftovers.LEFT_OUT: "ACCELERATE_MIXED_PRECISION"}


def test_no_process_that_is_started_inherits_them_or_the_consoles_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    def popen(_: Any, **options: Any) -> Any:
        given.update(options)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(spawn, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": popen}))
    spawn.detached(["x"], tmp_path / "log", {"RANK": "3", "PYTHONIOENCODING": "ascii", "HF_HOME": "/h"})
    assert "RANK" not in given["env"]
    assert (given["env"]["HF_HOME"], given["env"]["PYTHONIOENCODING"]) == ("/h", "utf-8")
