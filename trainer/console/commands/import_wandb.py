"""python -m trainer import-wandb: a history exported from W&B becomes a run"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.text import Words


def add(commands: Any) -> None:
    """The options carry the names that trainer.wandb_import.bring takes."""
    parser = commands.add_parser("import-wandb", help="make a run of a history exported from W&B, to report on it")
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE", help="CSV or JSON; several charts of one run")
    parser.add_argument("--name", metavar="NAME", help="of the run (default: its name in W&B, or the file's)")
    parser.add_argument("--run", metavar="NAME", help="which run of a chart that shows several")
    parser.add_argument("--preset", metavar="NAME", help="the settings it was made with")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--config", dest="config_file", type=Path, metavar="FILE", help="config.yaml of the W&B run")
    parser.add_argument("--gpu", metavar="NAME", help="the card it ran on, such as 4090, for the floor of its times")
    parser.set_defaults(call=import_wandb)


def import_wandb(paths: Sequence[Path], **options: Any) -> int:
    """Make a run directory of an exported W&B history and say what was in it; options as trainer.wandb_import.bring."""
    from trainer import launch, text
    from trainer.console import language
    from trainer.text import forms
    from trainer.wandb_import import bring

    made = bring.bring(paths, **options)
    words, told, name = text.here(), made.training, made.rundir.name
    say = words.under("console.import")
    first, last = (told.steps[0].number, told.steps[-1].number) if told.steps else (0, 0)
    values = {"run": forms.printable(name), "count": len(told.steps), "first": first, "last": last}
    key = "steps_evals" if told.evals else "steps"
    print(say(key, **values, counted=told.counted_by, evals=len(told.evals)))
    print(say("metrics", names=forms.printable(", ".join(told.metrics))))
    print(_known(made.known, say))
    for what, count in made.ignored.items():
        print(say("ignored", count=count, what=language.said(what, words)))
    for note in made.notes:
        print(say("note", text=language.said(note, words)))
    print(f"python -m trainer report {name}")
    return launch.EXIT_FINISHED


def _known(known: Sequence[str], say: Words) -> str:
    """Which settings are known; of those that go to TRL as they are only how many."""
    ours = [key for key in known if not key.startswith("trl.")]
    if not known:
        return say("settings_none")
    names, others = ", ".join(ours), len(known) - len(ours)
    return say("settings_trl", names=names, count=others) if others else say("settings", names=names)
