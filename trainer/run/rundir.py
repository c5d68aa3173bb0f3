"""The run directory outputs/<run>/: the only place that knows its file names.

    spec.json plan.json env.json     written once, when the run is created; anew when it is extended
    spec.1.json plan.1.json          what they were before it was extended the first time
    events.jsonl                     the truth (trainer.run.events)
    rollouts/step_000020.jsonl       completions of one step
    samples.jsonl                    what the model wrote before a training on it (trainer.stages.samples)
    held_out_samples.jsonl           of a reward model the same for its held-out rows (trainer.stages.ordering)
    checkpoints/checkpoint-20/       staged in checkpoints/.staging, then renamed
    logs/attempt_1.log               raw output of the worker, one file an attempt
    logs/mirror_1.log                raw output of its mirror (trainer.mirrors)
    logs/notifier_1.log              what log.webhook was told, and why not
    control/worker.json              who the newest worker is
    control/spec.json                what spec.json said last, when that was agreed (trainer.run.spec_file)
    control/resume.json              what a resume was allowed in spite of a difference (trainer.run.settings)
    control/stop.json save.json      requests to save and stop (or pause), to save and go on (trainer.run.stop_requests)
    control/stop_at.json             the time of day at which it is to save and stop
    control/queued.json              its place among the runs that wait for others to end (trainer.run.queue_place)
    control/next_stage.json          why the stage after it could not be started (trainer.launch.chain)
    control/exports/                 the newest exports that the page started (trainer.tryit.exporting)
    control/report.json              who is writing the report (trainer.report.afterwards)
    control/notifier.json            who tells log.webhook (trainer.mirrors.notifier)
    control/mirror.json mirror.lock  what the newest mirror says of itself; held while it sends rows; of W&B's:
                                     each service's places are in trainer.run.mirror_files
    control/worker.lock start.lock   held by the worker for its life; by whoever is starting one
    held_out.json                    a few held-out questions and their answers over time (trainer.run.held_out_texts)
    report/                          report.en.html ..., written when a run ends and on request (trainer.report.write)
    exports/merged-150/              weights for others, one folder a kind and step (trainer.export)
    tryit/                           questions to a checkpoint and what was answered (trainer.tryit)
    epoch_2/ inference_epoch2.json   trained weights after an epoch, and their answers (trainer.evaluate.answers)
    scores.json                      what the answers are worth (trainer.evaluate.contest)
    files/                           copies of files that would not last elsewhere (trainer.run.kept_files)
    start/                           the adapter that training starts from, as it was (trainer.run.start_files)
    judges/                          reward models of other runs, as they were (trainer.run.judges)
    wandb/                           W&B's own files, one folder an attempt

A run appears under its name complete or not at all. Small JSON files are replaced atomically.
Imports the spec, never torch. Knows nothing about processes or what events mean.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trainer.errors import Problem, RunError
from trainer.machine.folders import make_private
from trainer.machine.json_files import read_json, sync_folder, write_json
from trainer.machine.project import OUTPUTS_VARIABLE, PROJECT, named_folder
from trainer.machine.regular_files import open_file
from trainer.run import kept_files, spec_file, start_files, unreadable
from trainer.run.checkpoints import checkpoint_name
from trainer.spec import RunSpec

if TYPE_CHECKING:
    from trainer.plan import RunPlan

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_UNFINISHED = ".creating-"
_DELETED = ".deleting-"
_STALE_S = 3600  # an unfinished folder this old belongs to a process that was killed
_ATTEMPT = re.compile(r"attempt_(\d+)\.log")


def outputs_dir() -> Path:
    """Where runs live: $ONEGRPO_OUTPUTS, else outputs/ of the project."""
    return (named_folder(OUTPUTS_VARIABLE) or PROJECT / "outputs").resolve()


def make_outputs(outputs: Path) -> None:
    """Make it where it is missing; only its user may enter. Raises OSError."""
    make_private(outputs, named=outputs != PROJECT / "outputs")


class _InControl:
    """A file in control/ of a run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: RunDir, kind: type) -> Path:
        return run.control / self.name


class _Inside:
    """A file or folder of a run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: RunDir, kind: type) -> Path:
        return run.path / self.name


class RunDir:
    """Paths of one run. Making the object touches nothing; `create` and `open` check."""

    plan = _Inside("plan.json")
    env = _Inside("env.json")
    events = _Inside("events.jsonl")
    rollouts = _Inside("rollouts")
    logs = _Inside("logs")
    tryit = _Inside("tryit")
    start = _Inside("start")
    judges = _Inside("judges")
    exports = _Inside("exports")
    wandb = _Inside("wandb")
    held_out = _Inside("held_out.json")
    scores = _Inside("scores.json")
    samples = _Inside("samples.jsonl")
    held_out_samples = _Inside("held_out_samples.jsonl")
    report = _Inside("report")

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunDir) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    def rollouts_file(self, step: int) -> Path:
        return self.rollouts / f"step_{step:06d}.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / checkpoint_name(step)

    @property
    def staging(self) -> Path:
        return self.checkpoints / ".staging"

    def log_file(self, attempt: int) -> Path:
        return self.logs / f"attempt_{attempt}.log"

    @property
    def control(self) -> Path:
        return self.path / "control"

    identity = _InControl("worker.json")

    def mirror_log(self, attempt: int) -> Path:
        return self.logs / f"mirror_{attempt}.log"

    def notifier_log(self, attempt: int) -> Path:
        return self.logs / f"notifier_{attempt}.log"

    notifier = _InControl("notifier.json")
    mirror = _InControl("mirror.json")
    mirror_lock = _InControl("mirror.lock")

    spec_copy = _InControl("spec.json")
    resume_note = _InControl("resume.json")
    stop_request = _InControl("stop.json")
    stop_at = _InControl("stop_at.json")
    queued = _InControl("queued.json")
    next_stage = _InControl("next_stage.json")
    save_request = _InControl("save.json")
    requests_lock = _InControl("requests.lock")
    worker_lock = _InControl("worker.lock")
    start_lock = _InControl("start.lock")

    report_writer = _InControl("report.json")

    def report_file(self, language: str, form: str, step: int | None = None, others: Sequence[str] = ()) -> Path:
        """others: names of the runs this one is compared with."""
        parts = ["compare", *others] if others else ["report"]
        name = "_".join(parts)[:120]
        return self.report / f"{name}{'' if step is None else f'_step_{step}'}.{language}.{form}"

    @property
    def tryit_requests(self) -> Path:
        return self.tryit / "requests"

    @property
    def tryit_answers(self) -> Path:
        return self.tryit / "answers.jsonl"

    @property
    def tryit_started(self) -> Path:
        return self.tryit / "started.json"

    @property
    def tryit_worker(self) -> Path:
        return self.tryit / "worker.json"

    @property
    def tryit_thread(self) -> Path:
        return self.tryit / "thread.json"

    def tryit_lock(self, name: str) -> Path:
        return self.tryit / f"{name}.lock"

    @property
    def tryit_log(self) -> Path:
        return self.logs / "tryit.log"

    export_processes = _InControl("exports")

    def export_log(self, name: str) -> Path:
        return self.logs / f"export_{name}.log"

    def epoch_folder(self, label: str) -> Path:
        return self.path / f"epoch_{label}"

    def inference_file(self, label: str) -> Path:
        return self.path / f"inference_epoch{label}.json"

    def note_engine(self, facts: dict[str, Any]) -> None:
        """Add what the engine said about itself to env.json; nothing to say, nothing changed."""
        if facts:
            write_json(self.env, (read_json(self.env) or {}) | {"engine": facts})

    def take_start(self, origin: start_files.Origin) -> dict[str, Any]:
        """Keep the adapter that training starts from; what env.json says of it from now on. Raises RunError."""
        noted = start_files.taken_in(origin, self.start)
        write_json(self.env, (read_json(self.env) or {}) | {start_files.NOTED: noted})
        return noted

    def replace_settings(self, spec: RunSpec, plan: RunPlan) -> None:
        """Put another spec and plan in place of the run's; the ones before stay beside them under the next number.

        The spec comes last, and what trains reads only the spec: cut short, the run is what it was.
        """
        number = 1
        while any(self._numbered(path, number).exists() for path in (self.spec, self.plan)):
            number += 1
        for path in filter(Path.is_file, (self.plan, self.spec)):
            shutil.copy2(path, self._numbered(path, number))
        write_json(self.plan, plan)
        spec_file.write(self.spec, self.spec_copy, spec)

    @property
    def was_extended(self) -> bool:
        return self._numbered(self.spec, 1).is_file()

    @staticmethod
    def _numbered(path: Path, number: int) -> Path:
        return path.with_suffix(f".{number}{path.suffix}")

    def hide(self) -> Path:
        """Take the run out of every list at once; the hidden folder that is left to be removed. Raises OSError."""
        hidden = self.path.with_name(f"{_DELETED}{self.name}-{secrets.token_hex(4)}")
        self.path.rename(hidden)
        sync_folder(hidden.parent)
        return hidden

    def newest_attempt(self) -> int:
        """Number of the newest attempt that has a log; 0 before the first."""
        try:
            found = [_ATTEMPT.fullmatch(name) for name in os.listdir(self.logs)]
        except OSError:  # not there, or no folder
            return 0
        return max((int(match[1]) for match in found if match), default=0)

    def read_spec(self) -> RunSpec:
        """Raises RunError when it is damaged or not of this version; paths in it are absolute."""
        return spec_file.read(self.spec, self.spec_copy, self.name)

    @classmethod
    def create(
        cls,
        outputs: Path,
        name: str,
        spec: RunSpec,
        plan: RunPlan,
        env: dict[str, Any],
        passing: Sequence[Path] = (),
        taking: Callable[[RunDir], object] = lambda draft: None,
    ) -> Self:
        """Make outputs/<name> with its files. passing: see kept_files. taking: puts what else it keeps into its folder.

        Raises RunError: name bad or taken, and what `taking` raises.
        """
        path = _checked(outputs, name)
        make_outputs(outputs)
        _sweep(outputs)
        draft = cls(outputs / f"{_UNFINISHED}{name}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            for folder in (draft.rollouts, draft.checkpoints, draft.logs, draft.control):
                folder.mkdir(parents=True)
            spec = kept_files.taken_in(spec, passing, draft.path, path)
            spec_file.write(draft.spec, draft.spec_copy, spec)
            write_json(draft.plan, plan)
            write_json(draft.env, env)
            taking(draft)
            if path.exists() or path.is_symlink():
                raise _taken(path)
            try:
                draft.path.rename(path)
            except OSError as error:
                if path.exists():  # another process took the name since the line above
                    raise _taken(path) from error
                raise
        except BaseException:
            shutil.rmtree(draft.path, ignore_errors=True)
            raise
        sync_folder(outputs)
        return cls(path)

    @classmethod
    def open(cls, outputs: Path, name: str) -> Self:
        """The run of that name. Raises RunError with the nearest names when there is none."""
        path = _checked(outputs, name)
        run = cls(path)
        if not unreadable.is_there(run.spec):
            names = [known.name for known in list_runs(outputs) if NAME.fullmatch(known.name)]
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
            if not near:
                raise RunError(Problem("run.no_such_yet", name=name, outputs=str(outputs)))
            raise RunError(Problem("run.no_such", name=name, outputs=str(outputs), near=near))
        run.check()
        return run

    def check(self) -> None:
        """Raises RunError where nothing can be known of it: a name no run can have, a spec.json that is no file."""
        if not NAME.fullmatch(self.name):
            raise RunError(Problem("run.folder_name", name=self.shown_name))
        try:
            open_file(self.spec).close()
        except OSError as error:
            raise RunError(self.unreadable(error, self.spec)) from error

    @property
    def shown_name(self) -> str:
        """The name as it can be shown."""
        return unreadable.shown(self.name)

    def unreadable(self, error: BaseException, path: Path | None = None) -> Problem:
        """Why it cannot be read. path: of its file that cannot; as the error says, by default."""
        return unreadable.problem(self.path, error, path)


def list_runs(outputs: Path) -> list[RunDir]:
    """All runs, newest first, also those that cannot be read (RunDir.check).

    Folders without a spec, hidden ones and links are not runs.
    """
    found: list[tuple[float, RunDir]] = []
    try:
        entries = list(os.scandir(outputs))
    except FileNotFoundError:
        return []
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            run = RunDir(Path(entry.path))
            with contextlib.suppress(FileNotFoundError):
                if unreadable.is_there(run.spec):
                    found.append((unreadable.made(run.spec), run))
    return [run for _, run in sorted(found, key=lambda pair: (-pair[0], pair[1].name))]


def _checked(outputs: Path, name: str) -> Path:
    """outputs/<name>, if that is a legal name and stays inside outputs."""
    if not NAME.fullmatch(name):
        raise RunError(Problem("run.bad_name", seen=name))
    path = outputs / name
    # The folder itself may be a link to another disk; a run inside it may not lead elsewhere.
    if path.is_symlink() or path.resolve().parent != outputs.resolve():
        raise RunError(Problem("run.leads_out", name=name, outputs=str(outputs)))
    return path


def _taken(path: Path) -> RunError:
    return RunError(Problem("run.exists", name=path.name, path=str(path)))


def _sweep(outputs: Path) -> None:
    """Remove what processes killed while creating or deleting a run have left."""
    for leftover in outputs.glob(f"{_DELETED}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # also one that is being removed right now
    for leftover in outputs.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > _STALE_S:
                shutil.rmtree(leftover, ignore_errors=True)
