"""A run's checkpoint as something others can load: its adapter, whole 16-bit weights, GGUF files, a Hub repository.

`export` is the one way in. Each kind has its own file; what they share is where the weights come from (source.py) and
how a folder appears (staging.py): complete and verified under its name, or not at all. Nothing here trains, and no
training waits for it: it reads checkpoints only.

Importing it imports nothing heavy; torch, transformers and PEFT come with the kinds that need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.errors import ExportRefused, Problem
from trainer.export.kinds import DTYPES, FACTS, Exported, Say
from trainer.export.source import Source
from trainer.machine.json_files import read_json
from trainer.run.best import LATEST
from trainer.run.rundir import RunDir
from trainer.text import Message


def export(
    rundir: RunDir,
    kind: str,
    *,
    checkpoint: str = LATEST,
    out: Path | None = None,
    dtype: str | None = None,
    quants: Sequence[str] = ("q8_0",),
    repo: str | None = None,
    private: bool = True,
    upload: str | None = None,
    say: Say = print,
) -> Exported:
    """Export a checkpoint to `out`, by default exports/<kind>-<step> of the run.

    kind: one of KINDS. checkpoint: a step, LATEST for the newest that verifies, or BEST (trainer.run.best). dtype: of
    merged weights, one of DTYPES, the first by default. quants: of GGUF files. repo, private, upload: for kind hub;
    upload is "adapter" or "merged", None takes the adapter of a run that has one. say: called
    with one line at a time of what happens.
    Raises RunError (no such checkpoint), ExportRefused (target taken, tool or token missing; nothing was done),
    CheckpointError (the checkpoint is damaged), ExportError (it failed while working; nothing is left).
    """
    from trainer.export import adapter, gguf, hub_upload
    from trainer.export import source as sources

    if kind == "hub":
        account = hub_upload.prepare(repo)  # before minutes of work that could not be uploaded
    found = sources.find(rundir, checkpoint, say)
    if kind == "adapter":
        return adapter.export(found, out or target(found, kind))
    if kind == "merged":
        return _merged(found, out or target(found, kind), dtype or DTYPES[0], say)
    if kind == "gguf":
        if found.spec.is_reward_model:
            raise ExportRefused(Problem("export.judge_in_gguf", run=rundir.name))
        return gguf.export(found, out or target(found, kind), quants, say)
    assert kind == "hub", kind
    what = upload or ("adapter" if found.lora else "merged")
    if what == "adapter" and dtype is not None:
        raise ExportRefused(Problem("export.dtype_of_adapter", "--dtype"))
    made = _to_upload(found, what, out, dtype or DTYPES[0], say)
    return Exported(made.path, made.step, made.facts, hub_upload.upload(account, made.path, private, found.label, say))


def target(found: Source, kind: str) -> Path:
    return found.rundir.exports / f"{kind}-{found.step}"


def _merged(found: Source, path: Path, dtype: str, say: Say) -> Exported:
    from trainer.export import judge, merged

    if found.spec.is_reward_model:
        return judge.export(found, path, dtype, say)
    return merged.export(found, path, dtype, say)


def _to_upload(found: Source, kind: str, out: Path | None, dtype: str, say: Say) -> Exported:
    """The export of that kind: the one that is there if it is of these very weights, else made now."""
    from trainer.export import adapter

    path = out or target(found, kind)
    facts = read_json(path / FACTS) if path.is_dir() else None
    if facts is not None:
        wanted = found.facts(kind) | ({"dtype": dtype} if kind == "merged" else {})
        other = [key for key in ("kind", "weights", "dtype") if facts.get(key) != wanted.get(key)]
        if other:
            raise ExportRefused(Problem("export.another_is_there", str(path), field=other[0]))
        say(Message("export.is_there", path=str(path)))
        return Exported(path, found.step, facts)
    return adapter.export(found, path) if kind == "adapter" else _merged(found, path, dtype, say)
