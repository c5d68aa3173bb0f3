"""Where an export comes from: a verified checkpoint, and the very weights its adapter was trained on.

Knows run directories and checkpoints, imports torch only to make a built-in model. An adapter is only right on the
weights it was trained on, so the base is pinned to what the checkpoint's manifest says, and refused where that is
no longer available.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import launch
from trainer.errors import ExportError, Problem, RunError
from trainer.export.kinds import Say
from trainer.machine.project import PROJECT, cache_dir
from trainer.memory.embedded import BUILTIN
from trainer.rewards.library.reward_model import READS
from trainer.run import best, checkpoints, start_files
from trainer.run.checkpoints import ADAPTER, ADAPTER_CONFIG
from trainer.run.events import EventReader
from trainer.run.groups import read_groups
from trainer.run.records import PlanEvent
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.run.status import LIVE, imported_problem
from trainer.spec import RunSpec
from trainer.text import Message

ROLLOUTS = re.compile(r"step_([0-9]{6,})\.jsonl")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# What a tokenizer or a processor is saved as (transformers 5.17), and how a reward model reads a text; all else in a
# checkpoint is weights or for resuming.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    READS,
)


@dataclass(frozen=True)
class Base:
    """The weights before training. name and revision: for from_pretrained here; shown: for files that leave this
    machine, so never a path; public: whether `shown` is a Hub id that anybody can load."""

    name: str
    revision: str | None
    shown: str
    public: bool


@dataclass(frozen=True)
class Source:
    """A verified checkpoint of a run and what its manifest says."""

    rundir: RunDir
    spec: RunSpec
    path: Path
    step: int
    manifest: dict[str, Any]

    @property
    def lora(self) -> bool:
        return (self.path / ADAPTER).is_file()

    @property
    def start(self) -> Path | None:
        """Folder of the adapter that the run has started from; None where it started anew."""
        return self.rundir.start if self.lora and start_files.noted(self.rundir.env) is not None else None

    @property
    def label(self) -> str:
        return f"{self.rundir.name}, step {self.step}"

    @property
    def tokenizer_files(self) -> list[Path]:
        return [self.path / name for name in TOKENIZER_FILES if (self.path / name).is_file()]

    def adapter_config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.path / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        return config

    def weights(self) -> dict[str, str]:
        """sha256 of each weights file."""
        files = self.manifest["files"]
        own = [name for name in files if name.endswith(".safetensors") and "/" not in name]
        return {name: files[name]["sha256"] for name in sorted(own) if name != checkpoints.REFERENCE}

    def facts(self, kind: str) -> dict[str, Any]:
        """What export.json says of every export."""
        return {
            "schema": 1,
            "kind": kind,
            "run": self.rundir.name,
            "step": self.step,
            "weights": self.weights(),
            "trained_on": self.shown(),
            "versions": self.manifest.get("versions", {}),
        }

    def shown(self) -> str:
        """The base model without a path of this machine: Hub id, builtin/NAME or a folder's name."""
        name = self.spec.model.name
        if name.startswith(BUILTIN):
            return name
        if _folder(name) is not None:
            return Path(name).name
        # Unsloth loads its own quantised repository in place of the one asked for; manifest and adapter name that one.
        loaded = self.identity() or (self.adapter_config().get("base_model_name_or_path") if self.lora else None)
        return str(loaded) if loaded and HUB_ID.fullmatch(str(loaded)) else name

    def identity(self) -> str | None:
        """Hub id of what was loaded; None where the manifest names no commit."""
        return str(self.manifest.get("model", "")).rpartition("@")[0] or None

    def commit(self) -> str | None:
        """Commit of the Hub repository `shown` that was loaded: another may hold other weights."""
        name, _, commit = str(self.manifest.get("model", "")).rpartition("@")
        return commit if name and name == self.shown() else None

    def base(self) -> Base:
        """Raises ExportError when the weights that were trained on are no longer available."""
        name, trained_on = self.spec.model.name, str(self.manifest.get("model", ""))
        if name.startswith(BUILTIN):
            return Base(str(_built_in(self.spec, trained_on)), None, name, False)
        folder = _folder(name)
        if folder is not None:
            return Base(str(folder), None, self.shown(), False)
        shown = self.shown()
        if not HUB_ID.fullmatch(shown):
            raise ExportError(Problem("export.base_folder_gone", "model.name", folder=shown))
        return Base(shown, self.commit() or self.spec.model.revision, shown, True)

    def compute_dtype(self) -> str:
        """Name of the dtype the run loaded its base in: NF4 codes and the rounding of the rest depend on it."""
        plans = [event for event in EventReader(self.rundir.events).stream() if isinstance(event, PlanEvent)]
        dtype = plans[-1].dtype if plans else self.spec.model.dtype
        if dtype in ("auto", None):
            raise RunError(Problem("export.dtype_unknown", run=self.rundir.name))
        return str(dtype)

    def prompts(self, count: int) -> list[tuple[Any, str]]:
        """(prompt, one completion) of the newest rollouts up to this step; [] when none were written."""
        written = (ROLLOUTS.fullmatch(path.name) for path in self.rundir.rollouts.glob("step_*.jsonl"))
        steps = [step for match in written if match and (step := int(match[1])) <= self.step]
        try:
            groups = read_groups(self.rundir.rollouts_file(max(steps))).groups if steps else ()
        except OSError:
            return []
        asked = [(group.asked, group.completions[0].text) for group in groups if _is_prompt(group.asked)]
        return asked[:count]


def find(rundir: RunDir, which: str | None, say: Say) -> Source:
    """The checkpoint that is meant, as resolve_checkpoint takes it. Raises RunError or CheckpointError."""
    spec = rundir.read_spec()
    if not checkpoints.listed(rundir.checkpoints):
        raise RunError(_without_checkpoint(rundir))
    chosen = best.resolve_checkpoint(rundir, state_of(rundir), which, say)
    return Source(rundir, spec, chosen.path, chosen.step, checkpoints.read_manifest(chosen.path))


def _without_checkpoint(rundir: RunDir) -> Problem:
    """What to do about it depends on whether the run will ever write one."""
    values = {"run": rundir.name, "folder": str(rundir.checkpoints)}
    status = launch.status_of(rundir)
    if status == "imported":
        return imported_problem(rundir)
    if status == "finished":
        return Problem("export.no_checkpoint_left", **values)
    if status in LIVE:
        return Problem("export.no_checkpoint_yet", **values, status=Message(f"status.{status}"))
    return Problem("export.no_checkpoint", **values)


def _is_prompt(asked: Any) -> bool:
    """A text, or messages: what a damaged line holds is not put into a template."""
    messages = asked if isinstance(asked, list) and asked else [None]
    return isinstance(asked, str) or all(
        isinstance(one, dict) and {"role", "content"} <= one.keys() for one in messages
    )


def _folder(name: str) -> Path | None:
    """The local folder of that name as the worker sees it: it runs in the project's folder."""
    folder = PROJECT / os.path.expanduser(name)
    return folder if folder.is_dir() else None


def _built_in(spec: RunSpec, trained_on: str) -> Path:
    """Its folder in the cache, made again if need be and if the same weights would come out."""
    import torch

    from trainer.engine import builtin

    try:
        key = builtin.cache_key(spec)
        if (cache_dir() / spec.model.name.removeprefix(BUILTIN) / trained_on / "config.json").is_file():
            return cache_dir() / spec.model.name.removeprefix(BUILTIN) / trained_on
        if key == trained_on:
            if spec.model.cpu_threads:  # they decide the order of sums, as in the run
                torch.set_num_threads(spec.model.cpu_threads)
            return builtin.ensure(spec)
    except OSError as error:
        problem = Problem("export.builtin_not_made", "model.name", name=spec.model.name, said=str(error))
        raise ExportError(problem) from error
    values = {"name": spec.model.name, "trained_on": trained_on, "cache": str(cache_dir()), "now": key}
    raise ExportError(Problem("export.builtin_changed", "model.name", **values))
