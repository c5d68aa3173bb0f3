"""The W&B side of a mirror: where to, with which settings, and one call a row.

wandb 0.31 is imported inside functions. Its default address is no longer api.wandb.ai, so address, key and mode are
asked of its own settings (environment, `wandb login`, `wandb offline`), never guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.mirrors.completions import Completions
from trainer.mirrors.metric_rows import EVAL_STEP, GLOBAL_STEP
from trainer.run.rundir import RunDir

PROJECT_NAME = "onegrpo"
INIT_S = 8.0  # for wandb.init to be told by the server that the run is there
FINISH_S = 60.0  # for the last data to be uploaded; what is left stays in the folder
SECTIONS = ("train", "profiling", "group", "time", "memory", "completions")


Mode = Literal["online", "offline", "disabled"]


@dataclass(frozen=True)
class Wish:
    """What the person's settings of wandb say. key: None also where a token file takes its place (has_key)."""

    mode: Mode
    base_url: str
    key: str | None
    has_key: bool
    project: str
    entity: str | None


def wish() -> Wish:
    """Raises ImportError without wandb, whatever wandb raises on settings it refuses."""
    import wandb
    from wandb.sdk.lib import wbauth

    found = wandb.setup().settings
    modes: dict[str, Mode] = {"dryrun": "offline", "disabled": "disabled", "offline": "offline"}
    mode = modes.get(found.mode, "online")
    base_url = str(found.base_url)
    key = found.api_key or wbauth.read_netrc_auth(host=base_url)
    has_key = bool(key or found.identity_token_file)
    return Wish(mode, base_url, key, has_key, found.project or PROJECT_NAME, found.entity)


def keep_inside(rundir: RunDir, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for wandb, before it is imported: its files stay in the run's folder, its errors here."""
    home = str(rundir.wandb / ".files")
    kept = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"), home)
    # A run of this project is its own: an id, a sweep or a service around it belong to something else.
    foreign = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_SERVICE", "WANDB_DIR", "WANDB_NAME")
    rest = {name: value for name, value in environment.items() if name not in foreign}
    return {**rest, **kept, "WANDB_ERROR_REPORTING": "false"}


class WandbRun:
    """One run of W&B, begun. Raises whatever wandb.init raises; it may also hang (the caller has a deadline)."""

    def __init__(self, rundir: RunDir, run_id: str, chosen: Wish, mode: Mode, config: dict[str, Any]) -> None:
        import wandb

        self._wandb = wandb
        self._config = config
        rundir.wandb.mkdir(exist_ok=True)  # wandb would quietly take a temporary folder instead
        if not os.access(rundir.wandb, os.W_OK):
            raise PermissionError(f"{rundir.wandb} cannot be written")
        self.run: Any = wandb.init(
            dir=str(rundir.path),
            project=chosen.project,
            entity=chosen.entity,
            id=run_id,
            name=rundir.name,
            resume="allow",
            mode=mode,
            config=config,
            settings=wandb.Settings(**_settings()),
        )
        self.run.define_metric(GLOBAL_STEP)
        self.run.define_metric(EVAL_STEP)
        for section in SECTIONS:
            self.run.define_metric(f"{section}/*", step_metric=GLOBAL_STEP)
        self.run.define_metric("eval/*", step_metric=EVAL_STEP)

    @property
    def folder(self) -> Path:
        return Path(self.run.settings.sync_dir)

    @property
    def url(self) -> str | None:
        return self.run.url if not self.run.offline else None

    def configure(self, config: dict[str, Any]) -> None:
        self._config = self._config | config
        self.run.config.update(config, allow_val_change=True)

    def log(self, step: int, t: float, values: dict[str, Any], completions: Completions | None) -> None:
        """One row of the history, whole: it is not added to later. t: when it happened, unix seconds."""
        if completions is not None:
            # IMMUTABLE: every row of the history keeps a table of its own. An INCREMENTAL one is a single growing
            # table, of which the page loads the newest hundred parts and a resumed run forgets the earlier ones.
            table = self._wandb.Table(
                columns=completions.columns, data=completions.rows, log_mode="IMMUTABLE", allow_mixed_types=True
            )
            # A table that is bound already is a file of the run and not an artifact as well. For an artifact `log` asks
            # the server and raises when it is away; offline it is staged under an absolute path, and the folder could
            # not be carried to a machine that has a network.
            table.bind_to_run(self.run, "completions", step)
            values = values | {"completions": table}  # the caller may log them again without
        self.run.log({**values, "_timestamp": t}, step=step, commit=True)

    def finish(self, summary: dict[str, Any], exit_code: int) -> None:
        self.run.summary.update(summary)
        self.run.finish(exit_code=exit_code)
        # Only when its own program has ended are the last 32 KB of the history on the disk.
        self._wandb.teardown(exit_code=exit_code)


def _settings() -> dict[str, Any]:
    """Nothing of the machine, the program or its output is looked at: what is sent is what this room sends."""
    return {
        "console": "off",
        "disable_code": True,
        "save_code": False,
        "disable_git": True,
        "disable_job_creation": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
        "host": "",
        "program": "",
        "x_executable": "",
        "use_dot_wandb": False,
        "allow_val_change": True,  # a resumed run may have other versions
        "symlink": False,
        "allow_offline_artifacts": False,  # tables are files of the run's folder (see `log`)
        "init_timeout": INIT_S,
        "finish_timeout": FINISH_S,
        "stop_fn": lambda: None,  # W&B's stop button would send this process SIGINT; a mirror stops nothing
        "silent": True,
    }
