"""python -m trainer export: a checkpoint as something others can load"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.console.printing import put

if TYPE_CHECKING:
    from trainer.errors import Problem


def add(commands: Any) -> None:
    """The options carry the names that trainer.export.export takes. Those not typed are left out: it has the defaults,
    and one that was typed can be refused where it means nothing."""
    left_out = argparse.SUPPRESS
    parser = commands.add_parser("export", help="make a checkpoint loadable by others", argument_default=left_out)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--to", dest="kind", required=True, choices=("adapter", "merged", "gguf", "hub"))
    parser.add_argument("--checkpoint", metavar="best|N|latest", help="which (default: latest)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: exports/KIND-STEP of the run")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), help="of merged (default: bfloat16)")
    parser.add_argument("--quant", dest="quants", nargs="+", metavar="TYPE", help="of gguf (default: q8_0)")
    parser.add_argument("--repo", metavar="USER/NAME", help="of hub")
    parser.add_argument("--upload", choices=("adapter", "merged"), help="to hub; default: the adapter if there is one")
    visible = parser.add_mutually_exclusive_group()
    visible.add_argument(
        "--private", action="store_true", default=left_out, help="of hub: a private repository (default)"
    )
    public = "of hub: anybody may see the repository"
    visible.add_argument("--public", dest="private", action="store_false", default=left_out, help=public)
    parser.set_defaults(call=export)


def export(run: str, kind: str, **options: Any) -> int:
    """Export a checkpoint of a run. Progress goes to stderr.

    options: those that were typed, as trainer.export.export takes them. Raises ExportRefused for one that the kind
    would not look at.
    """
    from trainer import export as exports
    from trainer import launch, text
    from trainer.console import language
    from trainer.errors import ExportRefused
    from trainer.export import kinds
    from trainer.run.rundir import RunDir, outputs_dir

    foreign = [name for name in options if kind not in kinds.BELONGS.get(name, kinds.KINDS)]
    if foreign:
        raise ExportRefused(_foreign(name, options[name], kind) for name in foreign)
    rundir = RunDir.open(outputs_dir(), run)
    made = exports.export(rundir, kind, **options, say=language.note)
    say, verified = text.here().under("console.export"), made.facts.get("verified")
    if verified:
        said = say(
            "verified" if "top1_agreement" in verified else "verified_scores",
            saved=verified["saved_max_abs_diff"],
            trained=verified["trained_max_abs_diff"],
            agreement=verified.get("top1_agreement"),
            tokens=verified["tokens"],
            sequences=verified["sequences"],
        )
        put(said)
    put(say("done", run=run, step=made.step, where=made.url or made.path))
    return launch.EXIT_FINISHED


def _foreign(name: str, value: Any, kind: str) -> Problem:
    from trainer.errors import Problem
    from trainer.export import kinds

    typed = {"quants": "quant", "private": "private" if value else "public"}.get(name, name)
    ways = [f"--to {known}" for known in kinds.BELONGS[name]]
    return Problem("console.export_option", f"--{typed}", kind=kind, ways=ways)
