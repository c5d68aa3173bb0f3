"""The training process: python -m trainer.worker RUN_DIR

Started by trainer.launch in a session of its own. It reads spec.json, writes events.jsonl, rollouts and checkpoints,
and starts what works beside it: the mirrors, the report at the end, and the next attempt after a step that was too
large for the GPU. `main` reads top to bottom as the life of a run. SIGTERM, SIGINT or control/stop.json ask it to save
and end at the next generation boundary, however often they come: a service manager signals parent and worker both.
Only SIGKILL is faster. Whether that is a stop or a pause is read in control/stop.json when it writes its final event.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import launch, mirrors
from trainer.errors import CheckpointError, EventLogError, Problem, TrainerError
from trainer.launch import control
from trainer.machine import leftovers, notes, out_of_memory
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.machine.secrets import Redactor
from trainer.memory.measured import peak_gib
from trainer.plan.estimate import written_at_once
from trainer.plan.reading import fitting
from trainer.report import afterwards
from trainer.run import checkpoints, entrance, judges, settings, stop_requests
from trainer.run.events import EventWriter
from trainer.run.records import (
    AlertEvent,
    CheckpointEvent,
    RunFailedEvent,
    RunFinishedEvent,
    RunPausedEvent,
    RunStartedEvent,
    RunStoppedEvent,
    Skipped,
)
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.spec import RunSpec
from trainer.text import Message
from trainer.worker import recovery, starting
from trainer.worker.session import HANDOVER_S, Session, StopFlag, Stopped

if TYPE_CHECKING:
    from trainer.worker.training import Training

TRACEBACK_CHARACTERS = 3000
ENVIRONMENT = dict(os.environ)  # before any library writes into it
LEFT_OUT = leftovers.left_out(ENVIRONMENT)
ENVIRONMENT.pop(leftovers.LEFT_OUT, None)  # said once, not by the next attempt as well
# Of 1024 shapes of a product a buffer is kept, and the lengths of micro-batches make as many: 0.4 GiB in 60 steps of
# tiny-qlora. It is as fast with 32.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def main(path: str | Path, module: str = launch.WORKER) -> int:
    """Run or resume outputs/<run>; the process's exit code. module: what a retry is started as."""
    rundir = RunDir(Path(path))
    try:
        code = _main(rundir, module)
    except EventLogError as error:  # the log of the process is the only place left to say it
        print(f"error: {error}", file=sys.stderr, flush=True)
        return launch.EXIT_FAILED
    afterwards.start(rundir, max(1, rundir.newest_attempt()), ENVIRONMENT)
    with contextlib.suppress(OSError, TrainerError):  # the console that follows, or a resume, sees to it as well
        if code == launch.EXIT_FINISHED:
            launch.chain.tend(rundir, ENVIRONMENT)
    with contextlib.suppress(OSError, TrainerError):  # page and console see to it as well
        launch.queue.tend(rundir.path.parent, ENVIRONMENT)
    return code


def _main(rundir: RunDir, module: str) -> int:
    with launch.hold_lock(rundir, HANDOVER_S):
        attempt = max(1, rundir.newest_attempt())
        with EventWriter(rundir.events, attempt) as events:
            flag = StopFlag(rundir, attempt)
            session = Session(rundir, events, flag)
            try:
                train(session)
            except Stopped:
                _emit_stopped(session)
                return launch.EXIT_STOPPED
            except Exception as error:
                if out_of_memory.is_out_of_memory(error):
                    return _out_of_memory(session, error, module)
                if isinstance(error, TrainerError):
                    _emit_failed(session, error, error.problems, error.exit_code)
                    return error.exit_code
                _emit_failed(session, error, [_problem(error)], launch.EXIT_FAILED)
                return launch.EXIT_FAILED
            finally:
                stop_requests.clear_save_request(rundir, attempt)  # nobody is left to meet one
    return launch.EXIT_FINISHED


def _problem(error: Exception) -> Problem:
    """What to say of an error that is none of this project's own."""
    if isinstance(error, MemoryError):
        return Problem("worker.ram")
    kind, said = type(error).__name__, str(error)
    return Problem("worker.failed", kind, said=said) if said else Problem("worker.failed_unsaid", kind)


def train(session: Session) -> None:
    """Load, evaluate, train, evaluate. Raises Stopped, TrainerError or what the libraries raise."""
    rundir, events, flag = session.rundir, session.events, session.flag
    spec, pieces = recovery.smaller(rundir.read_spec(), session.retries)
    spec = starting.with_judges(rundir, spec)
    resumed, skipped = _resume_point(rundir)
    _emit_started(session, spec, resumed, skipped)
    _make_good(session, resumed)
    if resumed is None and (taken := judges.messages(rundir)):
        events.emit(AlertEvent.of("info", "judges_taken", judges=taken))
    if LEFT_OUT:
        events.emit(AlertEvent.of("info", "left_out", names=LEFT_OUT))
    mirrors.notify(rundir, spec.log.webhook, events.attempt, ENVIRONMENT)
    session.mirrors = mirrors.start(rundir, spec.log.mirrors, events.attempt, ENVIRONMENT)
    flag.check()

    with session.phase("load", spec.model.name):
        from trainer import engine  # torch comes with it and not before

        choice = engine.resolve(spec)
        session.hold_gpu(choice.device)
        noted = starting.kept(rundir, spec, resumed is not None)
        engine.prepare(spec, choice)  # Unsloth before what it patches: transformers, TRL and PEFT come with these
        from trainer.data import dataset

        loaded = engine.load(
            spec,
            choice,
            lambda: session.phase("warm_start", spec.model.name),
            lambda tokenizer: _try_template(session, spec, tokenizer),
        )
    with session.phase("data"):
        data = dataset.load(spec, loaded.tokenizer, rundir.staging)
        for said in data.report.warnings if spec.data.path is None else ():  # else the plan has said so
            events.emit(AlertEvent.of("warn", "data", said=said))
        plan = launch.plan_here(spec, data.report.rows)
    run = _training(spec)(session, spec, plan, choice, loaded, data, pieces)
    rundir.note_engine(loaded.facts)
    del loaded  # of a reward model the head that wrote is not kept
    run.check_same(resumed)
    run.start_from(noted, resumed)

    with run.watched():
        with session.phase("rewards", f"{len(spec.reward.leaves())} functions on rows of the data"):
            run.check_rewards()
        run.check_policy()
        if (resumed is None or resumed.step == 0) and spec.eval.at_start:
            with session.phase("eval", "before"):
                run.held_out.evaluate("before", 0)
        for mirror in session.mirrors:
            mirror.announce(events, flag)
        with session.phase("train", f"{plan.optimizer_steps} steps" if plan.optimizer_steps else ""):
            run.train(resumed)
        if spec.eval.at_end:
            with session.phase("eval", "after"):
                run.held_out.evaluate("after", run.trainer.state.global_step)
        seconds, tokens = time.perf_counter() - session.started, run.observer.tokens
        step = run.trainer.state.global_step
        events.emit(RunFinishedEvent(step=step, seconds=seconds, tokens=tokens, peak_memory_gib=peak_gib()))


def _training(spec: RunSpec) -> type[Training]:
    from trainer.worker import conversing, reward_modelling, supervised, training

    if spec.is_reward_model:
        return reward_modelling.RewardModelTraining
    if spec.is_supervised:
        return supervised.SupervisedTraining
    return conversing.Conversing if spec.episode.is_on else training.Training


def _try_template(session: Session, spec: RunSpec, tokenizer: Any) -> None:
    """Rows through the chat template, before there are weights: model or rows may not have been here for the plan."""
    from trainer.data import dataset, preview
    from trainer.preflight import templates

    stored = fitting(read_json(session.rundir.plan))[0].get("warnings", ())
    known = [templates.subject(Message.read(each)) for each in stored]
    for said in templates.of_tokenizer(spec, tokenizer, preview.samples(spec, *dataset.feeds(spec))):
        if templates.subject(said) not in known:
            session.events.emit(AlertEvent.of("warn", "data", said=said))


def _resume_point(rundir: RunDir) -> tuple[Any, list[tuple[str, Message]]]:
    """The newest checkpoint that verifies (None on a fresh run) and the newer ones that do not.

    Raises CheckpointError when there are checkpoints but none verifies: starting over would throw work away.
    """
    checkpoints.clear_staging(rundir.staging)
    found, skipped = checkpoints.newest_verified(rundir.checkpoints)
    if found is None and skipped:
        problems = [Problem("run.checkpoint_skipped", name, wrong=reason) for name, reason in skipped]
        none = Problem("worker.none_resumable", name=rundir.name, folder=str(rundir.checkpoints))
        raise CheckpointError([*problems, none])
    for name, _ in skipped:  # newer than the one that is good: they must not count as the newest any more
        checkpoints.set_aside(rundir.checkpoints, name)
    return found, skipped


def _emit_started(session: Session, spec: RunSpec, resumed: Any, skipped: list[tuple[str, Message]]) -> None:
    planned, wanted = session.planned, spec.optim.max_steps
    session.events.emit(
        RunStartedEvent(
            **Identity.mine().stored(),
            **notes.place(session.rundir.path),
            resumed_from_step=resumed.step if resumed else 0,
            resumed_from=resumed.path.name if resumed else None,
            skipped=[Skipped(checkpoint=name, reason=reason.stored()) for name, reason in skipped],
            extended_from=planned if planned is not None and wanted is not None and wanted > planned else None,
        )
    )


def _make_good(session: Session, resumed: Any) -> None:
    """Write what a kill, or the person who resumes, has left to be said: this is the only writer."""
    for checkpoint in checkpoints.listed(session.rundir.checkpoints) if resumed else ():
        if checkpoint.step <= resumed.step and checkpoint.step not in session.said:
            name, size = checkpoint.path.name, checkpoints.size(checkpoint.path)
            verified = True if checkpoint == resumed else None
            session.events.emit(CheckpointEvent(step=checkpoint.step, name=name, bytes=size, verified=verified))
    for alert in settings.word(session.rundir, session.events.attempt):
        session.events.emit(alert)


def _emit_stopped(session: Session) -> None:
    newest = checkpoints.listed(session.rundir.checkpoints)
    ended = RunPausedEvent if session.flag.pauses() else RunStoppedEvent
    session.events.emit(
        ended(
            step=newest[-1].step if newest else 0,
            seconds=time.perf_counter() - session.started,
            checkpoint=newest[-1].path.name if newest else None,
            reason=session.flag.why(),
        )
    )


def _out_of_memory(session: Session, error: Exception, module: str) -> int:
    """Start the next attempt with a smaller micro-batch if that helps; the exit code says what happened."""
    rundir, where, times = session.rundir, session.failed_in, session.retries
    spec = rundir.read_spec()
    rows = written_at_once(spec) if spec.samples_first else launch.plan_here(spec, None).generation_batch_size
    place = Message("worker.in_span", span=where) if where else Message("worker.outside")
    said = out_of_memory.shortened(error)
    session.flag.look()
    retry = recovery.helps(spec, times, where, rows) and not session.flag()
    if retry:
        newest = checkpoints.listed(rundir.checkpoints)
        start = newest[-1].path.name if newest else Message("alert.out_of_memory.the_start")
        within = Message("alert.out_of_memory.in", span=where) if where else Message("alert.out_of_memory.outside")
        smaller = recovery.in_words(spec, times + 1)
        session.events.emit(
            AlertEvent.of("warn", "out_of_memory", place=within, said=said, start=start, smaller=smaller)
        )
        retry = _start_next_attempt(session, module)
    memory = Message("worker.gpu_memory" if session.device == "cuda" else "worker.memory")
    values: dict[str, Any] = {"memory": memory, "place": place, "said": said, "advice": recovery.advice(where, spec)}
    problem = Problem("worker.out_of_memory", **values)
    if times:
        tries = Message("worker.one_try") if times == 1 else Message("worker.tries", count=times)
        problem = Problem("worker.out_of_memory_again", **values, tries=tries)
    _emit_failed(session, error, [problem], launch.EXIT_OUT_OF_MEMORY, retry=retry)
    return launch.EXIT_OUT_OF_MEMORY


def _start_next_attempt(session: Session, module: str) -> bool:
    """False when the system can start no process now: the run then ends as failed, and can be resumed."""
    try:
        launch.start_next_attempt(session.rundir, module, ENVIRONMENT)
    except OSError as error:
        print(f"the next attempt could not be started: {error}", file=sys.stderr, flush=True)
        return False
    session.flag.look()
    if session.flag():  # asked while it was being started: the request was this worker's, it is now the next one's
        control.hand_on(session.rundir, session.flag.pauses())
    return True


def _emit_failed(
    session: Session, error: Exception, problems: list[Problem], exit_code: int, retry: bool = False
) -> None:
    redactor = Redactor(ENVIRONMENT)  # page and report show it, also to others
    text = redactor.text("".join(traceback.format_exception(error)))
    print(text, file=sys.stderr, flush=True)
    session.events.emit(
        RunFailedEvent(
            step=state_of(session.rundir).last_step,
            error=type(error).__name__,
            problems=[redactor.clean(problem.stored()) for problem in problems],
            traceback_tail=text[-TRACEBACK_CHARACTERS:],
            exit_code=exit_code,
            retry=retry,
        )
    )


if __name__ == "__main__":
    sys.exit(main(entrance.parser(launch.WORKER, "Train a run.").parse_args().rundir.path))
