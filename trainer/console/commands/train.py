"""app.py without a page: start, resume, show the plan, list the presets. Their flags are app.py's."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.console.printing import put
from trainer.console.tables import put_table


def headless(preset: str, overrides: Sequence[str], name: str | None) -> int:
    """Check, create, start and follow a new run."""
    from trainer import launch
    from trainer.console import headless

    spec, plan = launch.prepare(preset, overrides)
    with headless.Interrupts() as interrupts:
        rundir = launch.create(preset, spec, plan, name)
        handle = launch.start(rundir)
        return headless.follow(rundir, handle, interrupts=interrupts)


def resume(run: str, checkpoint: str | None = None, overrides: Sequence[str] = (), force: bool = False) -> int:
    """Start and follow another attempt of a run, from the newest checkpoint or the one that is asked for."""
    from trainer import launch, text
    from trainer.console import headless
    from trainer.run.best import LATEST
    from trainer.run.rundir import RunDir, outputs_dir

    rundir, words = RunDir.open(outputs_dir(), run), text.here()
    with headless.Interrupts() as interrupts:
        handle = launch.resume(
            rundir,
            checkpoint=checkpoint or LATEST,
            say=lambda message: put(words.said(message)),
            overrides=overrides,
            force=force,
        )
        return headless.follow(rundir, handle, interrupts=interrupts)


def dry_run(preset: str, overrides: Sequence[str]) -> int:
    """Print the plan card; nothing is written. Exit code 2 where this machine cannot run it, as --headless has it."""
    from trainer import launch, preflight, text
    from trainer.errors import SpecError
    from trainer.plan import card

    spec, plan = launch.prepare(preset, overrides)
    put(card.render(spec, plan, text.here()))
    try:
        preflight.check(spec, plan)
    except SpecError as error:
        words = text.here()
        put(f"\n{words('console.presets.unfit')}")
        for problem in error.problems:
            put(f"  - {problem.said(words)}")
        return launch.EXIT_INPUT
    return launch.EXIT_FINISHED


def show_presets() -> int:
    """A table of all presets, with why one cannot be read."""
    from trainer import launch, presets, text

    words = text.here()
    say = words.under("console.presets")
    rows = [tuple(say(f"column_{name}") for name in ("preset", "gpu", "model", "title"))]
    for info in presets.list_presets():
        broken = [say("broken", error=str(problem.said(words))) for problem in info.problems[:1]]
        title = broken[0] if broken else info.title_in(words.language)
        rows.append((info.name, words.said(info.gpu) if info.gpu else "-", info.model or "-", title))
    put_table(rows)
    return launch.EXIT_FINISHED
