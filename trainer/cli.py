"""What the commands do, and how errors become exit codes. For app.py and python -m trainer."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer import chat as chats
from trainer import console, launch, preflight, presets
from trainer import doctor as health
from trainer import export as exports
from trainer.console import talk, trying
from trainer.errors import ExportRefused, Problem, RunError, SpecError, TrainerError
from trainer.evaluate import contest
from trainer.imports import bring
from trainer.plan import card
from trainer.report import write as reports
from trainer.report.write import Form
from trainer.run import checkpoints
from trainer.run.best import LATEST
from trainer.run.rundir import OUTPUTS_VARIABLE, RunDir, list_runs, outputs_dir, outputs_problem
from trainer.run.state import RunFollower
from trainer.run.status import LIVE
from trainer.run.summary import summary
from trainer.show import forms


def exit_code(call: Callable[[], int]) -> int:
    """Run a command. Errors a user is meant to read become lines; any other keeps its traceback."""
    try:
        code = _ended(call)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # what it still holds would be written, and fail, when the interpreter ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return launch.EXIT_FAILED


def _ended(call: Callable[[], int]) -> int:
    try:
        return call()
    except TrainerError as error:
        for problem in error.problems:
            print(f"error: {forms.printable(str(problem))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        wrong = outputs_problem(outputs_dir())
        if wrong is not None:
            print(f"error: {wrong}", file=sys.stderr)
            return launch.EXIT_INPUT
        if error.filename is None or not str(error.filename).startswith(str(outputs_dir())):
            raise  # nothing a person can mend by looking at the outputs folder
        fix = f"python -m trainer doctor, or another folder: {OUTPUTS_VARIABLE}=FOLDER"
        print(f"error: {error.filename}: {error.strerror}  ->  {fix}", file=sys.stderr)
        return launch.EXIT_INPUT
    except KeyboardInterrupt:
        return launch.EXIT_STOPPED


def headless(preset: str, overrides: Sequence[str], name: str | None) -> int:
    """Check, create, start and follow a new run."""
    spec, plan = launch.prepare(preset, overrides)
    with console.Interrupts() as interrupts:
        rundir = launch.create(preset, spec, plan, name)
        handle = launch.start(rundir)
        return console.follow(rundir, handle, interrupts=interrupts)


def resume(run: str, checkpoint: str | None = None) -> int:
    """Start and follow another attempt of a run, from the newest checkpoint or the one that is asked for."""
    rundir = RunDir.open(outputs_dir(), run)
    with console.Interrupts() as interrupts:
        handle = launch.resume(rundir, checkpoint=checkpoint or LATEST, say=lambda line: print(line, flush=True))
        return console.follow(rundir, handle, interrupts=interrupts)


def dry_run(preset: str, overrides: Sequence[str]) -> int:
    """Print the plan card; nothing is written."""
    spec, plan = launch.prepare(preset, overrides)
    print(card.render(spec, plan))
    try:
        preflight.check(spec, plan)
    except SpecError as error:
        print("\nThis machine can not run it")
        for problem in error.problems:
            print(f"  - {problem}")
    return launch.EXIT_FINISHED


def show_presets() -> int:
    rows = [("PRESET", "GPU", "MODEL", "TITLE")]
    for info in presets.list_presets():
        broken = f"broken: {info.error.splitlines()[0]}" if info.error else info.title
        rows.append((info.name, info.gpu or "-", info.model or "-", broken))
    _print_table(rows)
    return launch.EXIT_FINISHED


def runs() -> int:
    """A table of all runs, the newest first."""
    rows = [("RUN", "STATE", "TITLE", "STEPS", "REWARD", "TIME", "STARTED")]
    for rundir in list_runs(outputs_dir()):
        follower = RunFollower(rundir)
        status = launch.judge(rundir, follower)
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
                forms.printable(spec.title or spec.model.name)[:40],
                f"{found['steps']}{of}",
                reward,
                forms.duration(found["wall_seconds"]),
                forms.clock(started),
            )
        )
    if len(rows) == 1:
        print(f"no runs in {outputs_dir()}")
    else:
        _print_table(rows)
    return launch.EXIT_FINISHED


def stop(run: str, force: bool) -> int:
    """Ask a run to save and stop and wait for it; with force end it at once."""
    rundir = RunDir.open(outputs_dir(), run)
    if force:
        if not launch.kill(rundir):
            raise RunError(Problem(f"run {run}", f"is not running, it is {launch.judge(rundir)}"))
        print(f"{run}: ended at once; --resume {run} goes on from its last checkpoint")
        return launch.EXIT_FINISHED
    launch.stop(rundir)
    return _wait(rundir, "stop")


def pause(run: str) -> int:
    """Ask a run to save and end, to be continued, and wait for it."""
    rundir = RunDir.open(outputs_dir(), run)
    launch.pause(rundir)
    return _wait(rundir, "pause")


def _wait(rundir: RunDir, word: str) -> int:
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
    launch.save_now(RunDir.open(outputs_dir(), run))
    print(f"{run}: asked to save; it does so when the completions at hand are trained on, and goes on")
    return launch.EXIT_FINISHED


def extend(run: str, steps: int) -> int:
    """Plan more steps for a run that has ended; what that means for its learning rate is said."""
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


def delete(run: str, sure: bool) -> int:
    """Delete a run with all its files; unless sure, say what would be lost and what to type."""
    rundir = RunDir.open(outputs_dir(), run)
    if not sure:
        found = launch.contents(rundir)
        kept = "1 checkpoint" if found.checkpoints == 1 else f"{found.checkpoints} checkpoints"
        print(f"{run}: {forms.size(found.bytes)} in {found.files} files, {found.steps} steps, {kept}: {rundir.path}")
        print(f"nothing was deleted; to delete it: python -m trainer delete {run} --yes")
        return launch.EXIT_INPUT
    launch.delete(rundir)
    print(f"{run}: deleted")
    return launch.EXIT_FINISHED


def export(run: str, kind: str, **options: Any) -> int:
    """Export a checkpoint of a run. Progress goes to stderr.

    options: those that were typed, as trainer.export.export takes them. Raises ExportRefused for one that the kind
    would not look at.
    """
    foreign = [name for name in options if kind not in exports.BELONGS.get(name, exports.KINDS)]
    if foreign:
        raise ExportRefused(_foreign(name, options[name], kind) for name in foreign)
    rundir = RunDir.open(outputs_dir(), run)
    made = exports.export(rundir, kind, **options, say=lambda line: print(line, file=sys.stderr, flush=True))
    verified = made.facts.get("verified")
    if verified:
        print(
            f"verified: logits of the saved weights are within {verified['saved_max_abs_diff']:.2g} of those in memory,"
            f" within {verified['trained_max_abs_diff']:.2g} of what was trained;"
            f" the same most likely token at {verified['top1_agreement']:.1%} of {verified['tokens']} positions"
        )
    print(f"{run}, step {made.step}: {made.url or made.path}")
    return launch.EXIT_FINISHED


def _foreign(name: str, value: Any, kind: str) -> Problem:
    typed = {"quants": "quant", "private": "private" if value else "public"}.get(name, name)
    kinds = " or ".join(f"--to {known}" for known in exports.BELONGS[name])
    return Problem(f"--{typed}", f"means nothing to --to {kind}", f"leave it out, or {kinds}")


def chat(
    run: str,
    *,
    checkpoint: str | None,
    sides: Sequence[str],
    prompt: str | None,
    system: str | None,
    temperature: float,
    max_new_tokens: int | None,
    device: str | None,
) -> int:
    """Talk to a checkpoint. sides: "base", "tuned" or both. prompt: answer it once, to stdout, and end."""
    rundir = RunDir.open(outputs_dir(), run)
    length = max_new_tokens if max_new_tokens is not None else rundir.read_spec().generation.max_completion_length
    settings = chats.Settings(temperature, length)
    with chats.opened(rundir, checkpoint, device, say=lambda line: print(line, file=sys.stderr, flush=True)) as opened:
        dialogues = [chats.Dialogue(opened, settings, side == "base", system) for side in sides]
        if prompt is not None:
            talk.once(dialogues, prompt, sys.stdout, sys.stderr)
        else:
            talk.converse(dialogues, input, sys.stdout, sys.stderr)
    return launch.EXIT_FINISHED


def evaluate(folder: str, labels: Path | None, preset: str | None) -> int:
    """Score the inference files of a run, or of any folder, print the table and name the best epoch.

    labels: None takes the run's data.eval_path. preset: whose components score; None takes the run's, or malpyeong's.
    """
    place, spec, labels, rows = contest.opened(folder, labels, preset)
    scores = contest.score_folder(place, rows, spec)
    contest.write_scores(place, scores, spec, labels)
    _print_table(contest.table(scores))
    print(contest.verdict(place, scores))
    return launch.EXIT_FINISHED


def check_rewards(
    file: Path | None,
    *,
    functions: Sequence[str],
    data: Path | None,
    preset: str | None,
    overrides: Sequence[str],
    rows: int,
    texts: Sequence[str],
) -> int:
    """Try rewards on rows of data; exit code 1 when they can not be used."""
    spec = trying.spec_of(file, functions, data, preset, overrides)
    return launch.EXIT_FINISHED if trying.run(spec, rows, texts, sys.stdout) else launch.EXIT_FAILED


def report(names: Sequence[str], *, step: int | None, lang: str | None, form: Form, out: str | None) -> int:
    """Write the report of a run, or the comparison of several, and say where; out "-": to standard output."""
    if lang is not None and lang not in reports.LANGUAGES:
        raise RunError(Problem("--lang", f"there is no report in {lang!r}", " or ".join(reports.LANGUAGES)))
    if len(set(names)) < len(names):
        raise RunError(Problem("report", "a run can not be compared with itself", "different runs"))
    if len(names) > 1 and step is not None:
        raise RunError(Problem("--step", "shows a step of one run", "leave it out, or name one run"))
    rundirs = [RunDir.open(outputs_dir(), name) for name in names]
    if out == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe may have an encoding without Korean, or without curves
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
        sys.stdout.write(reports.text_of(rundirs, lang or reports.language_here(), form, step))
    else:
        print(reports.write(rundirs, language=lang, form=form, step=step, out=Path(out) if out else None))
    return launch.EXIT_FINISHED


def import_wandb(paths: Sequence[Path], **options: Any) -> int:
    """Make a run directory of an exported W&B history and say what was in it; options as trainer.imports.bring."""
    made = bring.bring(paths, **options)
    told, name = made.training, made.rundir.name
    first, last = (told.steps[0].number, told.steps[-1].number) if told.steps else (0, 0)
    said = f"{len(told.steps)} steps, {first} to {last}, counted by {told.counted_by}"
    evaluations = f", {len(told.evals)} evaluations" if told.evals else ""
    print(f"{forms.printable(name)}: {said}{evaluations}")
    print(f"metrics: {forms.printable(', '.join(told.metrics))}")
    ours = [key for key in made.known if not key.startswith("trl.")]
    more = f" and {len(made.known) - len(ours)} of [trl]" if len(made.known) > len(ours) else ""
    print(f"settings that are known: {', '.join(ours) or 'none; --preset, --config or --set say them'}{more}")
    for what, count in made.ignored.items():
        print(f"left out: {count} {what}")
    for note in made.notes:
        print(f"note: {forms.printable(note)}")
    print(f"python -m trainer report {name}")
    return launch.EXIT_FINISHED


def doctor() -> int:
    """Look at the machine; exit code 1 when something is missing."""
    findings = health.check(outputs_dir())
    health.render(findings, sys.stdout)
    missing = any(finding.state == "missing" for finding in findings)
    return launch.EXIT_FAILED if missing else launch.EXIT_FINISHED


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
