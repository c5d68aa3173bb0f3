"""python -m trainer compare-methods: several methods on the same budget and seeds, in one table"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.console.printing import put

if TYPE_CHECKING:
    from trainer.report.methods import Ran
    from trainer.run.rundir import RunDir
    from trainer.spec import RunSpec

TRIES = (1, 2, 4, 8, 16)
"""k of pass@k and maj@k."""
EPOCHS = 3
"""Passes over the examples of a method that has them before its first step."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare-methods", help="train one preset with several methods on the same budget, and compare"
    )
    parser.add_argument("--preset", required=True, metavar="NAME|FILE")
    parser.add_argument("--methods", default="sft,rft,online_rft,dpo,grpo", help="default: %(default)s")
    parser.add_argument("--budget", type=int, required=True, metavar="N", help="completions that each may sample")
    parser.add_argument("--seeds", default="1,2,3", help="default: %(default)s")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--name", help="of the comparison: its runs are NAME-METHOD-SEED (default: the preset's)")
    parser.set_defaults(call=compare_methods)


def compare_methods(
    preset: str, methods: str, budget: int, seeds: str, overrides: Sequence[str], name: str | None
) -> int:
    """Train what is not there yet, one run after the other, and write the comparison into the first run's report
    folder. Interrupted, the same command goes on."""
    from trainer import launch, text
    from trainer.errors import Problem, SpecError
    from trainer.report import material
    from trainer.report import methods as compared
    from trainer.report import write as reports
    from trainer.run.rundir import RunDir, outputs_dir

    chosen, numbers = _listed("--methods", methods), _numbers(seeds)
    stem = name or f"compare-{preset.replace('/', '-').removesuffix('.toml')}"
    if launch.prepare(preset, overrides)[0].chain is not None:
        raise SpecError([Problem("console.methods_of_stages", "--preset", preset=preset)])
    every = [(method, seed) for method in chosen for seed in numbers]
    settings = {each: _settings(preset, each[0], budget, each[1], overrides) for each in every}
    specs = {each: launch.prepare(preset, changes)[0] for each, changes in settings.items()}  # what is wrong, now
    found: dict[str, list[Ran]] = {method: [] for method in chosen}
    for (method, seed), changes in settings.items():
        rundir = RunDir(outputs_dir() / f"{stem}-{method.replace('_', '-')}-{seed}")
        ended = _trained(preset, rundir, changes, specs[method, seed])
        if ended == "failed":
            put(text.here()("console.methods.failed", run=rundir.name))
            continue  # a method that could not learn is left out, and named
        if ended != "finished":
            return launch.EXIT_STOPPED
        one = compared.ran(material.of(rundir), _sampled(rundir), seed)
        found[method] += [one] if one is not None else []
    if not any(found.values()):
        return launch.EXIT_FAILED
    words = text.here()
    for language in text.languages():
        place = reports.write_methods(found, budget, language)
        if language == words.language:
            put(reports.methods_text(found, budget, language), end="")
            put(str(place))
    return launch.EXIT_FINISHED


def _settings(preset: str, method: str, budget: int, seed: int, overrides: Sequence[str]) -> list[str]:
    """What is typed over the preset for one run. Raises SpecError where the budget is less than one update writes."""
    from trainer import launch
    from trainer.errors import Problem, SpecError

    plan = launch.prepare(preset, [*overrides, "run.method=grpo"])[1]
    changes = [*overrides, f"run.method={method}", f"run.seed={seed}", f"eval.pass_at={list(TRIES)}"]
    changes += ["eval.at_start=true", "eval.at_end=true", f"eval.samples={max(TRIES)}", "eval.eval_steps="]
    changes += ["log.rollouts=true"]  # what was written is counted
    if budget < (least := plan.completions_per_phase * plan.phases_per_update):
        raise SpecError([Problem("console.budget", "--budget", seen=budget, least=least)])
    if method in ("grpo", "online_rft"):
        steps = budget // plan.completions_per_phase * plan.updates_per_phase // plan.phases_per_update
        return [*changes, f"optim.max_steps={steps}"]
    changes += ["optim.max_steps=", f"optim.num_train_epochs={EPOCHS}"]
    if method == "sft" or plan.rows is None:
        return changes
    group = min(1024, max(2, budget // plan.rows))
    rows = min(plan.rows, max(1, budget // group))
    return [*changes, f"generation.num_generations={group}", f"data.max_rows={rows}"]


def _trained(preset: str, rundir: RunDir, changes: Sequence[str], spec: RunSpec) -> str:
    """How the run ended, made or gone on with where it has not. Raises RunError where one of that name is another."""
    import os

    from trainer import launch, text
    from trainer.console import headless
    from trainer.errors import Problem, RunError

    say = text.here().under("console.methods")
    with headless.Interrupts() as interrupts, open(os.devnull, "w", encoding="utf-8") as quiet:
        if not rundir.spec.is_file():
            made, plan = launch.prepare(preset, changes)
            rundir = launch.create(preset, made, plan, rundir.name)
            handle = launch.start(rundir)
        elif rundir.read_spec() != spec:
            raise RunError(Problem("console.other_run", "--name", name=rundir.name))
        elif launch.status_of(rundir) in ("finished", "failed"):
            put(say("there", run=rundir.name))
            return launch.status_of(rundir)
        else:
            handle = launch.resume(rundir)
        put(say("trains", run=rundir.name))
        headless.follow(rundir, handle, stream=quiet, interrupts=interrupts)
    return launch.status_of(rundir)


def _sampled(rundir: RunDir) -> int:
    """Completions that it wrote to learn from."""
    from trainer.run.state import state_of

    state = state_of(rundir)
    written = [int(event.completions) for event in state.rollouts if event.completions is not None]
    first = [int(alert.values["of"]) for alert in state.alerts if alert.key in ("examples_rft", "examples_dpo")]
    return sum(written) + max(first, default=0)


def _listed(flag: str, typed: str) -> list[str]:
    """Raises SpecError for a method that is none, or one twice."""
    from trainer.errors import Problem, SpecError
    from trainer.spec import METHODS

    known = [method for method in METHODS if method != "reward_model"]  # it answers nothing that could be compared
    found = [part.strip() for part in typed.split(",") if part.strip()]
    unknown = [name for name in found if name not in known]
    if unknown or not found or len(set(found)) < len(found):
        raise SpecError([Problem("console.methods", flag, seen=unknown or typed, known=", ".join(known))])
    return found


def _numbers(typed: str) -> list[int]:
    """Raises SpecError for what is no number."""
    from trainer.errors import Problem, SpecError

    try:
        found = [int(part) for part in typed.split(",")]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found) or min(found) < 0:
        raise SpecError([Problem("console.seeds", "--seeds", seen=typed)])
    return found
