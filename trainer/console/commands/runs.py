"""python -m trainer runs | stop | pause | save | extend | delete"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.console.tables import print_table

if TYPE_CHECKING:
    from trainer.run.rundir import RunDir


def add(commands: Any) -> None:
    """What is done with one run as a whole, and the list of all."""
    commands.add_parser("runs", help="list all runs with their state").set_defaults(call=runs)
    parser = commands.add_parser("stop", help="save a checkpoint and stop a run")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--force", action="store_true", help="end it at once, without saving")
    parser.set_defaults(call=stop)
    parser = commands.add_parser("pause", help="save a checkpoint and end a run, to be continued: its GPU is free then")
    parser.add_argument("run", metavar="RUN")
    parser.set_defaults(call=pause)
    parser = commands.add_parser("save", help="save a checkpoint of a run as soon as one can be taken, and go on")
    parser.add_argument("run", metavar="RUN")
    parser.set_defaults(call=save)
    parser = commands.add_parser("extend", help="plan more steps for a run that has ended; --resume then takes them")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="how many more (optimizer steps)")
    parser.set_defaults(call=extend)
    parser = commands.add_parser("delete", help="delete a run with all its files")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--yes", action="store_true", help="do it (default: only say what would be deleted)")
    parser.set_defaults(call=delete)


def runs() -> int:
    """A table of all runs, the newest first."""
    from trainer import launch
    from trainer.errors import RunError
    from trainer.run.rundir import list_runs, outputs_dir
    from trainer.run.state import RunFollower
    from trainer.run.summary import summary
    from trainer.text import forms, here
    from trainer.text.layout import shortened

    language = here().language
    rows = [("RUN", "STATE", "TITLE", "STEPS", "REWARD", "TIME", "STARTED")]
    for rundir in list_runs(outputs_dir()):
        follower = RunFollower(rundir)
        status = launch.status_of(rundir, follower)
        found = summary(follower.state, rundir, status)
        try:
            spec = rundir.read_spec()
        except RunError as error:  # of another version, or damaged: the others are listed all the same
            rows.append((rundir.name, status, error.problems[0].what[:40], "", "", "", ""))
            continue
        of = f"/{found['steps_total']}" if found["steps_total"] else ""
        reward = "-"
        if found["reward_first"] is not None:
            reward = " -> ".join(forms.number(found[key]) for key in ("reward_first", "reward_last"))
        started = min((first for first, _ in follower.state.attempt_t.values()), default=None)
        rows.append(
            (
                rundir.name,
                status,
                shortened(forms.printable(spec.title_in(language) or spec.model.name), 40),
                f"{found['steps']}{of}",
                reward,
                forms.duration(found["wall_seconds"]),
                forms.clock(started),
            )
        )
    if len(rows) == 1:
        print(f"no runs in {outputs_dir()}")
    else:
        print_table(rows)
    return launch.EXIT_FINISHED


def stop(run: str, force: bool) -> int:
    """Ask a run to save and stop and wait for it; with force end it at once."""
    from trainer import launch
    from trainer.errors import Problem, RunError
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    if force:
        if not launch.kill(rundir):
            raise RunError(Problem.plain(f"run {run}", f"is not running, it is {launch.status_of(rundir)}"))
        print(f"{run}: ended at once; --resume {run} goes on from its last checkpoint")
        return launch.EXIT_FINISHED
    launch.stop(rundir)
    return _wait(rundir, "stop")


def pause(run: str) -> int:
    """Ask a run to save and end, to be continued, and wait for it."""
    from trainer import launch
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    launch.pause(rundir)
    return _wait(rundir, "pause")


def _wait(rundir: RunDir, word: str) -> int:
    from trainer import launch
    from trainer.run.status import LIVE
    from trainer.text import forms

    run, patience = rundir.name, launch.FORCE_AFTER_S
    print(f"{run}: asked to save and {word}, waiting up to {forms.duration(patience)}", flush=True)
    status = launch.wait_until_ended(rundir, patience)
    print(f"{run}: {status}")
    if status in LIVE:
        print(f"it still works on its step; end it at once: python -m trainer stop {run} --force")
        return launch.EXIT_FAILED
    if status == "paused":
        print(f"its process is gone and its GPU is free; {_resume_line(run)} goes on where it was")
    return launch.EXIT_FINISHED


def _resume_line(run: str) -> str:
    return f"python app.py --headless --resume {run}"


def save(run: str) -> int:
    """Ask a run for a checkpoint as soon as one can be taken."""
    from trainer import launch
    from trainer.run.rundir import RunDir, outputs_dir

    launch.save_now(RunDir.open(outputs_dir(), run))
    print(f"{run}: asked to save; it does so when the completions at hand are trained on, and goes on")
    return launch.EXIT_FINISHED


def extend(run: str, steps: int) -> int:
    """Plan more steps for a run that has ended; what that means for its learning rate is said."""
    from trainer import launch
    from trainer.run import checkpoints
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    old, new = launch.extended_total(rundir, steps)
    notes = launch.extension_notes(rundir.read_spec(), old, new)
    launch.extend(rundir, steps)
    rounded = "" if new == old + steps else ", whole rollout phases"
    print(f"{run}: {new} steps are planned instead of {old}{rounded}")
    for note in notes:
        print(f"note: {note}")
    saved = checkpoints.listed(rundir.checkpoints)
    start = f"from {saved[-1].path.name}" if saved else "from the start: it has no checkpoint"
    print(f"{_resume_line(run)} goes on {start}")
    return launch.EXIT_FINISHED


def delete(run: str, yes: bool) -> int:
    """Delete a run with all its files; unless yes, say what would be lost and what to type."""
    from trainer import launch
    from trainer.run.rundir import RunDir, outputs_dir
    from trainer.text import forms

    rundir = RunDir.open(outputs_dir(), run)
    if not yes:
        found = launch.contents(rundir)
        kept = "1 checkpoint" if found.checkpoints == 1 else f"{found.checkpoints} checkpoints"
        print(f"{run}: {forms.size(found.bytes)} in {found.files} files, {found.steps} steps, {kept}: {rundir.path}")
        print(f"nothing was deleted; to delete it: python -m trainer delete {run} --yes")
        return launch.EXIT_INPUT
    launch.delete(rundir)
    print(f"{run}: deleted")
    return launch.EXIT_FINISHED
