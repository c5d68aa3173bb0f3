"""What wandb 0.31, transformers 5.17 and TRL 1.14 really log, as the importer takes it to be. Offline, no model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.mirrors import offline
from trainer.run.state import state_of
from trainer.wandb_import.bring import bring

PROFILED = "profiling/Time taken: UnslothGRPOTrainer."
# As WandbCallback.setup and on_log of transformers, and ProfilingContext and log_completions of TRL call it.
LOGGED = f"""
import wandb
run = wandb.init(project="x", config={{"beta": 0.1}})
wandb.define_metric("train/global_step")
wandb.define_metric("*", step_metric="train/global_step", step_sync=True)
for step in (1, 2, 3):
    wandb.log({{"{PROFILED}transformers.generate": 5.0 + step}})
    wandb.log({{"{PROFILED}_prepare_inputs": 0.5}})
    wandb.log({{"{PROFILED}_prepare_inputs": 0.25}})
    wandb.log({{"completions": wandb.Table(columns=["a"], data=[["b"]])}})
    metrics = {{"train/reward": step / 4, "train/kl": float("nan"), "train/epoch": step / 8}}
    wandb.log({{**metrics, "train/global_step": step}})
run.finish()
"""


def source(package: str, path: str) -> str:
    found = find_spec(package)
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / path).read_text(encoding="utf-8")


def test_upstream_logs_as_this_importer_takes_it_to_log() -> None:
    callback = source("transformers", "integrations/integration_utils.py")
    assert 'define_metric("*", step_metric="train/global_step", step_sync=True)' in callback
    assert 'self._wandb.log({**non_scalar_logs, "train/global_step": state.global_step})' in callback
    profiling = source("trl", "extras/profiling.py")
    assert '"profiling/Time taken"' in profiling and "wandb.log(metrics)" in profiling


def test_rows_of_wandb_itself_become_the_steps_they_were(tmp_path: Path) -> None:
    # A key, a proxy or a folder of the machine must not matter.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOGGED], cwd=tmp_path, env=kept | own, check=True, timeout=120)
    (folder,) = offline.folders(tmp_path / "wandb")[:1]
    rows = offline.read(folder).history
    assert [row["train/global_step"] for row in rows[:6]] == [0, 0, 0, 0, 1, 1]  # the one before is filled in
    export = tmp_path / "history.jsonl"
    export.write_text("".join(json.dumps(row) + "\n" for row in rows))
    state = state_of(bring([export]).rundir)
    assert (state.steps, list(state.epochs)) == ([1, 2, 3], [0.125, 0.25, 0.375])
    assert state.metrics["train/reward"] == [0.25, 0.5, 0.75]
    for trainer in ("UnslothGRPOTrainer", "CustomGRPOTrainer"):
        named = f"profiling/Time taken: {trainer}."
        assert state.metrics[f"{named}transformers.generate"] == [6.0, 7.0, 8.0]
        assert state.metrics[f"{named}_prepare_inputs"] == [0.75, 0.75, 0.75]
    assert len(state.metrics) == 5
