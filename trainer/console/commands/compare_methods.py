"""python -m trainer compare-methods: several methods on the same budget and seeds, in one table"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.console.printing import put

if TYPE_CHECKING:
    from trainer.console.comparisons import Comparison
    from trainer.run.rundir import RunDir
    from trainer.spec import RunSpec


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare-methods", help="train one preset with several methods on the same budget, and compare"
    )
    parser.add_argument("--preset", required=True, metavar="NAME|FILE")
    parser.add_argument("--methods", default="sft,rft,online_rft,dpo,grpo", help="default: %(default)s")
    parser.add_argument(
        "--budget", type=int, metavar="N", help="completions that each may sample (default: those of its GRPO run)"
    )
    parser.add_argument("--seeds", default="1,2,3", help="default: %(default)s")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--name", help="of the comparison: its runs are NAME-METHOD-SEED (default: the preset's)")
    parser.set_defaults(call=compare_methods)


def compare_methods(
    preset: str, methods: str, budget: int | None, seeds: str, overrides: Sequence[str], name: str | None
) -> int:
    """Train what is not there yet, one run after the other, and write the comparison into the first run's report
    folder. Interrupted, the same command goes on, and tries again what failed for a reason that may be gone."""
    from trainer import launch, text
    from trainer.console import comparisons
    from trainer.report import write as reports

    one = comparisons.asked(preset, methods, budget, seeds, overrides, name)
    changes = {each: comparisons.settings(one, *each) for each in one.runs}
    specs = {each: launch.prepare(preset, typed)[0] for each, typed in changes.items()}  # what is wrong, now
    comparisons.note(one, specs)
    for each, rundir in one.runs.items():
        ended = _trained(one, rundir, changes[each], specs[each])
        if ended == "failed":
            put(text.here()("console.methods.failed", run=rundir.name))
        elif ended != "finished":
            return launch.EXIT_STOPPED
    found, words = comparisons.came_to(one), text.here()
    if not any(found.values()):
        return launch.EXIT_FAILED
    for language in text.languages():
        place = reports.write_methods(found, one.budget, language)
        if language == words.language:
            put(reports.methods_text(found, one.budget, language), end="")
            put(str(place))
    return launch.EXIT_FINISHED


def _trained(one: Comparison, rundir: RunDir, changes: Sequence[str], spec: RunSpec) -> str:
    """How the run ended, made or gone on with where it has not. Raises RunError where one of that name is another."""
    import os

    from trainer import launch, text
    from trainer.console import headless, runs_there
    from trainer.errors import Problem, RunError

    say = text.here().under("console.methods")
    with headless.Interrupts() as interrupts, open(os.devnull, "w", encoding="utf-8") as quiet:
        if not rundir.spec.is_file():
            made, plan = launch.prepare(one.preset, changes)
            rundir = launch.create(one.preset, made, plan, rundir.name)
            handle = launch.start(rundir)
        elif rundir.read_spec() != spec:
            raise RunError(Problem("console.other_run", "--name", name=rundir.name))
        elif runs_there.is_over(rundir, launch.status_of(rundir)):
            put(say("there", run=rundir.name))
            return launch.status_of(rundir)
        else:
            handle = launch.resume(rundir)
        put(say("trains", run=rundir.name))
        headless.follow(rundir, handle, stream=quiet, interrupts=interrupts)
    return launch.status_of(rundir)
