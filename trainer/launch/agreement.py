"""What a resume goes on with: the settings and files as they are now, what of it is new, and what was said to that.

Everything that is wrong is found here, before a worker loads anything; nothing is written until one is started.
Torch-free.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import preflight, presets
from trainer.errors import Problem, RunError
from trainer.machine.json_files import read_json, write_json
from trainer.machine.project import PROJECT, in_full
from trainer.presets.explain import dotted
from trainer.presets.stages import STAGE
from trainer.run import checkpoints, kept_files, settings, spec_file
from trainer.run.records import AlertEvent, CheckpointEvent
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec, files
from trainer.tasks import catalogue, generated
from trainer.text import Message

SHIPPED = "presets"  # of the project: what comes with it is found again wherever the project lies
# transformers 5.17 loads optimizer.pt and scheduler.pt: these come with a checkpoint, whatever the settings say.
KEPT = {"optim.learning_rate", "optim.weight_decay", "optim.adam_beta1", "optim.adam_beta2"}
Hashes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Agreement:
    """spec: what the run goes on with. alerts: for its event log. hashes: of the files that it names.

    any_rows: somebody wants to go on even where the rows are others.
    """

    spec: RunSpec
    alerts: list[AlertEvent]
    hashes: Hashes
    any_rows: bool

    def write(self, rundir: RunDir, attempt: int) -> None:
        """From now on the run is what was agreed; the caller holds its start lock."""
        if read_json(rundir.spec) != spec_file.tables(self.spec):
            spec_file.write(rundir.spec, rundir.spec_copy, self.spec)
        else:
            spec_file.agree(rundir.spec, rundir.spec_copy)
        env = read_json(rundir.env) or {}
        if env.get("files") != self.hashes:
            write_json(rundir.env, env | {"files": self.hashes})
        settings.leave_word(rundir, attempt, self.alerts, self.any_rows)


def hashes(spec: RunSpec) -> Hashes:
    """{key: {sha256, bytes}} of every file that the settings name and that is there."""
    found = {}
    for key, path in _named(spec).items():
        if os.path.isfile(path):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[key] = {"sha256": digest, "bytes": os.path.getsize(path)}
    return found


def agree(rundir: RunDir, overrides: Sequence[str], force: bool, saved: Sequence[CheckpointEvent] = ()) -> Agreement:
    """Raises RunError: settings that decide the weights were changed (unless force), or a file is not there.

    overrides: `key=value` of files and model folders that lie elsewhere now; SpecError for what they break, DataError
    for rows that cannot be read there. saved: the checkpoints that the event log knows.
    """
    from trainer.data import sources  # with numpy, which not every command shall wait for

    changed = settings.changes(rundir)
    if not force:
        settings.refuse_changed(rundir, changed)
    spec = rundir.read_spec()
    moved = _overridden(rundir, spec, overrides)
    spec = _with_paths(spec, moved)
    spec, shipped = _found_again(rundir, spec)
    stored = (read_json(rundir.env) or {}).get("files")
    before = stored if isinstance(stored, dict) else {}  # of runs that were made earlier nothing is known
    missing = [*_missing(rundir, spec, before), *preflight.gone(spec)]
    if missing:
        raise RunError(missing)
    now = hashes(spec)
    contents = list(_of_contents(spec, now, before))
    if contents or any(key.startswith("data.") for key in moved):
        sources.inspect(spec)  # other rows are looked at before anything is set aside or written
    alerts = [*_of_settings(rundir, changed), *_of_paths(moved | shipped), *_of_checkpoints(rundir, saved), *contents]
    alerts += _of_task(spec)
    return Agreement(spec, alerts, now, force or any(key.startswith("data.") for key in moved))


def take_paths(rundir: RunDir, overrides: Sequence[str]) -> None:
    """From now on a stage that has finished names its files where they lie now, and so do those after it, which are
    made from what it says. Raises what `agree` raises. The caller sees to it that nobody else is at it."""
    agree(rundir, overrides, force=False).write(rundir, rundir.newest_attempt())


def _named(spec: RunSpec) -> dict[str, str]:
    """{key: path} of the files of a run and, as `stage.1.KEY` on the command line, of the stages after it."""
    raw = spec.model_dump(mode="json")
    return {_typed(spec, way): str(PROJECT / path) for way, path in files.named(raw)}


def _typed(spec: RunSpec, way: files.Key) -> str:
    """The key as it is typed after --set. Stages are counted from 0 there."""
    if way[0] != "chain" or spec.chain is None:
        return dotted(way)
    _, _, place, _, *rest = way  # chain.following.0.settings.data.path
    return f"{STAGE}.{spec.chain.number + int(place)}.{dotted(rest)}"


def _with_paths(spec: RunSpec, moved: Mapping[str, tuple[str, str]]) -> RunSpec:
    """The settings with other paths. What is a run's own moves in the stages after it as well, where they name the same
    file or folder. Raises SpecError for what that breaks."""
    own = {key: pair for key, pair in moved.items() if not key.startswith(f"{STAGE}.")}
    if own:
        changes = [f"{key}={now}" for key, (_, now) in own.items()]
        spec = presets.parse(presets.merge(spec.model_dump(mode="json"), changes), "--set")
    if spec.chain is None or not moved:
        return spec
    following = []
    for number, each in enumerate(spec.chain.following, spec.chain.number):
        settings = files.renamed(each.settings, dict(own.values()))
        head = f"{STAGE}.{number}."
        theirs = {key.removeprefix(head): now for key, (_, now) in moved.items() if key.startswith(head)}
        theirs |= {key: now for key, (before, now) in own.items() if _at(settings, key) == before}
        settings = presets.merge(settings, [f"{key}={now}" for key, now in theirs.items()])
        following.append(each.model_copy(update={"settings": settings}))
    return spec.model_copy(update={"chain": spec.chain.model_copy(update={"following": following})})


def _at(tables: Any, key: str) -> Any:
    for step in key.split("."):
        if isinstance(tables, list) and step.isdigit() and int(step) < len(tables):
            tables = tables[int(step)]
        else:
            tables = tables.get(step) if isinstance(tables, dict) else None
    return tables


def _folders(spec: RunSpec) -> dict[str, str]:
    """{key: folder} of models on this machine."""
    found = {"model.name": spec.model.name} if preflight.local.is_folder(spec.model.name) else {}
    for key, component in _components(spec.model_dump(mode="json")["reward"], "reward"):
        param = preflight.rewards.MODELS.get(str(component.get("function")))
        name = str(component.get("params", {}).get(param, ""))
        if param and name.startswith((".", "/", "~")):
            found[f"{key}.params.{param}"] = name
    return found


def _components(table: Mapping[str, Any], at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, component in enumerate(table.get("components") or ()):
        key = f"{at}.components.{place}"
        yield key, component
        yield from _components(component, key)


def _overridden(rundir: RunDir, spec: RunSpec, overrides: Sequence[str]) -> dict[str, tuple[str, str]]:
    """{key: (path before, path now)}. Raises RunError for keys that are no path of this run."""
    known = _named(spec) | _folders(spec)
    given = [(key.strip(), value.strip()) for key, _, value in (one.partition("=") for one in overrides)]
    problems = []
    for key, value in given:
        if key not in known:
            problems.append(Problem("launch.set_no_path", f"--set {key}", name=rundir.name, known=list(known)))
        elif not value:
            problems.append(Problem("launch.set_empty", f"--set {key}=", seen=known[key]))
    if problems:
        raise RunError(problems)
    return {key: (known[key], str(in_full(value))) for key, value in given}


def _found_again(rundir: RunDir, spec: RunSpec) -> tuple[RunSpec, dict[str, tuple[str, str]]]:
    """The spec with what has moved along: files that are kept with the run, and of a run that was made before what is
    shipped was stored relative to the project those."""
    found = {}
    for key, path in _named(spec).items():
        parts = Path(path).parts
        tail = parts[len(parts) - parts[::-1].index(SHIPPED) - 1 :] if SHIPPED in parts else ()
        if tail and not os.path.exists(path) and (PROJECT / Path(*tail)).is_file():
            found[key] = (path, str(PROJECT / Path(*tail)))
        elif (kept := kept_files.found_again(path, rundir.path)) is not None:
            found[key] = (path, str(kept))
    return _with_paths(spec, found), found


def _missing(rundir: RunDir, spec: RunSpec, before: Mapping[str, Any]) -> Iterator[Problem]:
    for way, path in files.named(spec.model_dump(mode="json")):
        key = _typed(spec, way)
        was_there = Path(path).is_absolute() or key in before
        if was_there and not os.path.isfile(PROJECT / path):
            yield Problem("launch.file_gone", key, path=str(PROJECT / path), name=rundir.name, key=key)


def _of_settings(rundir: RunDir, changed: Sequence[settings.Change]) -> Iterator[AlertEvent]:
    forced = [one.message() for one in changed if one.decides]
    others = [one.message() for one in changed if not one.decides]
    if forced:
        yield AlertEvent.of("warn", "settings_forced", changes=forced)
    kept = [one.key for one in changed if one.key in KEPT]
    if kept and checkpoints.listed(rundir.checkpoints):
        yield AlertEvent.of("warn", "settings_kept", keys=kept)
    if others:
        yield AlertEvent.of("info", "settings_others", changes=others)
    if not changed and settings.respelt(rundir):
        yield AlertEvent.of("info", "settings_respelt")


def _of_checkpoints(rundir: RunDir, saved: Sequence[CheckpointEvent]) -> Iterator[AlertEvent]:
    if saved and not checkpoints.listed(rundir.checkpoints):
        names = [checkpoints.checkpoint_name(event.step) for event in saved]
        yield AlertEvent.of("warn", "checkpoints_gone", names=names, folder=str(rundir.checkpoints))


def _of_paths(moved: Mapping[str, tuple[str, str]]) -> Iterator[AlertEvent]:
    said = [Message("run.settings.change", key=key, before=one, now=two) for key, (one, two) in moved.items()]
    if said:
        yield AlertEvent.of("info", "files_moved", changes=said)


def _of_task(spec: RunSpec) -> Iterator[AlertEvent]:
    """The run keeps the rows that its task made; who judges the answers may be of another version now."""
    made, now = generated.version_of(str(spec.data.path)), catalogue.installed_version()
    if spec.data.task is not None and None not in (made, now) and made != now:
        yield AlertEvent.of("warn", "task_version", package=catalogue.PACKAGE, before=made, now=now)


def _of_contents(spec: RunSpec, now: Hashes, before: Mapping[str, Any]) -> Iterator[AlertEvent]:
    paths, said = _named(spec), []
    for key, found in now.items():
        was = before.get(key)
        was = was.get("sha256") if isinstance(was, dict) else None
        if isinstance(was, str) and was != found["sha256"]:
            values = {"key": key, "path": paths[key], "before": was[:12], "now": found["sha256"][:12]}
            said.append(Message("run.settings.file", **values))
    if said:
        yield AlertEvent.of("warn", "files_changed", files=said)
