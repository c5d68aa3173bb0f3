"""python -m trainer runs | stop | pause | save | queue | extend | delete"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.console.printing import put
from trainer.console.tables import put_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.run.rundir import RunDir


def add(commands: Any) -> None:
    """What is done with one run as a whole, and the list of all."""
    parser = commands.add_parser("runs", help="list all runs with their state")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line, for programs")
    parser.set_defaults(call=runs)
    parser = commands.add_parser("stop", help="save a checkpoint and stop a run")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--force", action="store_true", help="end it at once, without saving")
    parser.add_argument("--at", metavar="HH:MM", help="let it save and stop then, and return; never takes that back")
    parser.set_defaults(call=stop)
    parser = commands.add_parser("pause", help="save a checkpoint and end a run, to be continued: memory is free then")
    parser.add_argument("run", metavar="RUN")
    parser.set_defaults(call=pause)
    parser = commands.add_parser("save", help="save a checkpoint of a run as soon as one can be taken, and go on")
    parser.add_argument("run", metavar="RUN")
    parser.set_defaults(call=save)
    parser = commands.add_parser("queue", help="runs that wait for others to end; with RUN: let it wait as well")
    parser.add_argument("run", metavar="RUN", nargs="?")
    parser.add_argument("--place", type=int, metavar="N", help="let it be the N-th to start (1: the next one)")
    parser.add_argument("--remove", action="store_true", help="take it out; it stays as it is")
    parser.set_defaults(call=queue)
    parser = commands.add_parser("extend", help="plan more steps for a run that has ended; --resume then takes them")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="how many more (optimizer steps)")
    parser.set_defaults(call=extend)
    parser = commands.add_parser("delete", help="delete a run with all its files")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--yes", action="store_true", help="do it (default: only say what would be deleted)")
    parser.set_defaults(call=delete)


def runs(as_json: bool = False) -> int:
    """A table of all runs, the newest first; or each as a line of JSON."""
    if as_json:
        return _runs_as_json()
    from trainer import launch, text
    from trainer.errors import RunError
    from trainer.run.rundir import list_runs, outputs_dir
    from trainer.run.start_adapter import called
    from trainer.run.state import RunFollower
    from trainer.run.summary import summary
    from trainer.text import forms
    from trainer.text.layout import shortened

    words = text.here()
    say = words.under("console.runs")
    rows = [tuple(say(f"column_{name}") for name in ("run", "state", "title", "steps", "reward", "time", "started"))]
    for rundir in list_runs(outputs_dir()):
        follower = RunFollower(rundir)
        try:
            rundir.check()
            status = launch.status_of(rundir, follower)
            found = summary(follower.state, rundir, status)
        except Exception as error:  # whatever lies in its folder: it costs this row and no other
            problem = rundir.unreadable(error).said(words)
            rows.append((rundir.shown_name, say("broken"), f"{problem.what}; {problem.fix}", "", "", "", ""))
            continue
        try:
            spec = rundir.read_spec()
        except RunError as error:  # of another version, or damaged: the others are listed all the same
            what = error.problems[0].said(words).what
            rows.append((rundir.name, words(f"status.{status}"), what, "", "", "", ""))
            continue
        of = f"/{found['steps_total']}" if found["steps_total"] else ""
        reward = "-"
        if found["reward_first"] is not None:
            reward = " -> ".join(forms.number(found[key]) for key in ("reward_first", "reward_last"))
        started = min((first for first, _ in follower.state.attempt_t.values()), default=None)
        rows.append(
            (
                rundir.name,
                words(f"status.{status}"),
                shortened(forms.printable(spec.title_in(words.language) or called(spec.model.name)), 40),
                f"{found['steps']}{of}",
                reward,
                words.duration(found["wall_seconds"]) if found["wall_seconds"] >= 1 else "-",  # it has just begun
                forms.clock(started),
            )
        )
    if len(rows) == 1:
        put(say("none", outputs=outputs_dir()))
    else:
        put_table(rows)
        _say_held(list_runs(outputs_dir()))
    return launch.EXIT_FINISHED


def _runs_as_json() -> int:
    """What trainer.run.summary says of each run, its title, model and first second; docs/commands.md has the fields.

    Of a run that cannot be read only its name, path, status "unreadable" and, as error, the reason.
    """
    import json

    from trainer import launch
    from trainer.errors import RunError
    from trainer.run.rundir import list_runs, outputs_dir
    from trainer.run.state import RunFollower
    from trainer.run.summary import summary

    for rundir in list_runs(outputs_dir()):
        follower = RunFollower(rundir)
        try:
            rundir.check()
            found = summary(follower.state, rundir, launch.status_of(rundir, follower))
            found["started_t"] = min((first for first, _ in follower.state.attempt_t.values()), default=None)
        except Exception as error:  # whatever lies in its folder: it costs this line and no other
            path = str(rundir.path)
            why = str(rundir.unreadable(error))
            put(json.dumps({"run": rundir.shown_name, "status": "unreadable", "error": why, "path": path}))
            continue
        try:
            spec = rundir.read_spec()
            found |= {"title": spec.title, "model": spec.model.name, "error": None}
        except RunError as error:  # of another version, or damaged
            found |= {"title": None, "model": None, "error": str(error)}
        put(json.dumps(found))
    return launch.EXIT_FINISHED


def _say_held(rundirs: Sequence[RunDir]) -> None:
    """Which have finished and were not followed by their next stage, why, and what starts it."""
    from trainer import launch, text
    from trainer.errors import TrainerError
    from trainer.run.state import RunFollower

    for rundir in rundirs:
        try:
            if "." not in rundir.name or launch.chain.following(rundir) is None:
                continue
            follower = RunFollower(rundir)
            held = launch.chain.held(rundir, launch.status_of(rundir, follower), follower.state)
        except (TrainerError, OSError, ValueError):  # the table says what is wrong with it
            continue
        if held is not None:
            values = {"run": rundir.name, "command": _resume_line(rundir.name)}
            why = held.reasons[0].said(text.here()).what if held.reasons else ""
            say = text.here().under("console.runs")
            put(say("next_stage", **values, why=why) if why else say("next_stage_unsaid", **values))


def stop(run: str, force: bool, at: str | None = None) -> int:
    """Ask a run to save and stop and wait for it; with force end it at once; with a time of day let it do so then."""
    from trainer import launch, text
    from trainer.errors import RunError
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    if force:
        if not launch.kill(rundir):
            raise RunError(launch.not_running_problem(rundir, launch.status_of(rundir)))
        put(text.here()("console.runs.forced", run=run))
        return launch.EXIT_FINISHED
    if at is not None:
        return _stop_at(rundir, at)
    launch.stop(rundir)
    return _wait(rundir, "stop")


def _stop_at(rundir: RunDir, at: str) -> int:
    import time

    from trainer import launch, text
    from trainer.text import forms

    now, say = time.time(), text.here().under("console.runs")
    then = None if at == "never" else launch.next_at(at, now)
    launch.stop_at(rundir, then)
    put(say("no_stop_at" if then is None else "stop_at", run=rundir.name, clock=forms.clock(then)))
    return launch.EXIT_FINISHED


def pause(run: str) -> int:
    """Ask a run to save and end, to be continued, and wait for it."""
    from trainer import launch
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    launch.pause(rundir)
    return _wait(rundir, "pause")


def _wait(rundir: RunDir, word: str) -> int:
    from trainer import launch, text
    from trainer.run.status import LIVE

    run, words = rundir.name, text.here()
    say = words.under("console.runs")
    put(say(f"asked_{word}", run=run, seconds=launch.FORCE_AFTER_S))
    status = launch.wait_until_ended(rundir, launch.FORCE_AFTER_S)
    put(say("status", run=run, status=words(f"status.{status}")))
    if status in LIVE:
        put(say("still_works", run=run))
        return launch.EXIT_FAILED
    if status == "paused":
        put(say("paused", command=_resume_line(run)))
    return launch.EXIT_FINISHED


def _resume_line(run: str) -> str:
    return f"python app.py --headless --resume {run}"


def save(run: str) -> int:
    """Ask a run for a checkpoint as soon as one can be taken."""
    from trainer import launch, text
    from trainer.run.rundir import RunDir, outputs_dir

    launch.save_now(RunDir.open(outputs_dir(), run))
    put(text.here()("console.runs.save", run=run))
    return launch.EXIT_FINISHED


def queue(run: str | None, place: int | None, remove: bool) -> int:
    """Let a run start when the ones that are going have ended; without one the queue as it is."""
    from trainer import launch, text
    from trainer.run.queue_place import place_of
    from trainer.run.rundir import RunDir, outputs_dir

    outputs, words = outputs_dir(), text.here()
    say = words.under("console.runs")
    if run is not None:
        rundir = RunDir.open(outputs, run)
        waits = rundir in launch.queue.waiting(outputs)
        if remove:
            launch.queue.remove(rundir)
            put(say("unqueued", run=run))
            return launch.EXIT_FINISHED
        if place is None or not waits:
            launch.queue.add(rundir)
        if place is not None:
            launch.queue.move(rundir, place)
        put(say("queued", run=run, place=launch.queue.waiting(outputs).index(rundir) + 1))
        return launch.EXIT_FINISHED
    launch.queue.tend(outputs)
    waiting = launch.queue.waiting(outputs)
    for number, each in enumerate(waiting, 1):
        found = place_of(each)
        refused = found.refused if found is not None else None
        values = {"place": number, "run": each.name}
        put(say("queue_refused", **values, why=refused) if refused else say("queue_line", **values))
    if not waiting:
        put(say("queue_none"))
    return launch.EXIT_FINISHED


def extend(run: str, steps: int) -> int:
    """Plan more steps for a run that has ended; what that means for its learning rate is said."""
    from trainer import launch, text
    from trainer.run import checkpoints
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    old, new = launch.extended_total(rundir, steps)
    notes = launch.extension_notes(rundir.read_spec(), old, new)
    launch.extend(rundir, steps)
    words = text.here()
    say = words.under("console.runs")
    put(say("extended" if new == old + steps else "extended_phases", run=run, before=old, after=new))
    for note in notes:
        put(say("note", text=words.said(note)))
    saved, command = checkpoints.listed(rundir.checkpoints), _resume_line(run)
    if saved:
        put(say("goes_on", command=command, checkpoint=saved[-1].path.name))
    else:
        put(say("goes_on_start", command=command))
    return launch.EXIT_FINISHED


def delete(run: str, yes: bool) -> int:
    """Delete a run with all its files; unless yes, say what would be lost and what to type."""
    from trainer import launch, text
    from trainer.run.rundir import RunDir, outputs_dir
    from trainer.text import forms

    rundir, say = RunDir.open(outputs_dir(), run), text.here().under("console.runs")
    if not yes:
        found = launch.contents(rundir)
        values = {"size": forms.size(found.bytes), "files": found.files, "steps": found.steps}
        key = "contents_one" if found.checkpoints == 1 else "contents"
        put(say(key, run=run, **values, checkpoints=found.checkpoints, path=rundir.path))
        put(say("not_deleted", run=run))
        return launch.EXIT_INPUT
    launch.delete(rundir)
    put(say("deleted", run=run))
    return launch.EXIT_FINISHED
