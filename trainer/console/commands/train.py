"""app.py without a page: start, resume, show the plan, list the presets. Their flags are app.py's."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.console.tables import print_table


def headless(preset: str, overrides: Sequence[str], name: str | None) -> int:
    """Check, create, start and follow a new run."""
    from trainer import launch
    from trainer.console import headless

    spec, plan = launch.prepare(preset, overrides)
    with headless.Interrupts() as interrupts:
        rundir = launch.create(preset, spec, plan, name)
        handle = launch.start(rundir)
        return headless.follow(rundir, handle, interrupts=interrupts)


def resume(run: str, checkpoint: str | None = None) -> int:
    """Start and follow another attempt of a run, from the newest checkpoint or the one that is asked for."""
    from trainer import launch
    from trainer.console import headless
    from trainer.run.best import LATEST
    from trainer.run.rundir import RunDir, outputs_dir

    rundir = RunDir.open(outputs_dir(), run)
    with headless.Interrupts() as interrupts:
        handle = launch.resume(rundir, checkpoint=checkpoint or LATEST, say=lambda line: print(line, flush=True))
        return headless.follow(rundir, handle, interrupts=interrupts)


def dry_run(preset: str, overrides: Sequence[str]) -> int:
    """Print the plan card; nothing is written."""
    from trainer import launch, preflight, text
    from trainer.errors import SpecError
    from trainer.plan import card

    spec, plan = launch.prepare(preset, overrides)
    print(card.render(spec, plan, text.here()))
    try:
        preflight.check(spec, plan)
    except SpecError as error:
        print("\nThis machine cannot run it")
        for problem in error.problems:
            print(f"  - {problem}")
    return launch.EXIT_FINISHED


def show_presets() -> int:
    """A table of all presets, with why one cannot be read."""
    from trainer import launch, presets, text

    say = text.here()
    rows = [("PRESET", "GPU", "MODEL", "TITLE")]
    for info in presets.list_presets():
        broken = f"broken: {info.problems[0].said(say)}" if info.problems else info.title_in(say.language)
        rows.append((info.name, say.said(info.gpu) if info.gpu else "-", info.model or "-", broken))
    print_table(rows)
    return launch.EXIT_FINISHED
