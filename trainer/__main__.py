"""python -m trainer COMMAND: runs, stop, pause, save, extend, delete, export, evaluate, chat, rewards check, report,
import-wandb, doctor."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Look after runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("runs", help="list all runs with their state")
    _add_control(commands)
    _add_export(commands)
    _add_chat(commands)
    _add_evaluate(commands)
    _add_rewards(commands)
    _add_report(commands)
    _add_import(commands)
    commands.add_parser("doctor", help="check this machine: packages, GPU, memory, disk, keys")
    given = parser.parse_args(arguments)

    from trainer import cli

    if given.command == "runs":
        return cli.exit_code(cli.runs)
    if given.command == "stop":
        return cli.exit_code(lambda: cli.stop(given.run, given.force))
    if given.command == "pause":
        return cli.exit_code(lambda: cli.pause(given.run))
    if given.command == "save":
        return cli.exit_code(lambda: cli.save(given.run))
    if given.command == "extend":
        return cli.exit_code(lambda: cli.extend(given.run, given.steps))
    if given.command == "delete":
        return cli.exit_code(lambda: cli.delete(given.run, given.yes))
    if given.command == "export":
        options = {key: value for key, value in vars(given).items() if key not in ("command", "run", "to")}
        return cli.exit_code(lambda: cli.export(given.run, given.to, **options))
    if given.command == "chat":
        asked = {key: value for key, value in vars(given).items() if key not in ("command", "run")}
        return cli.exit_code(lambda: cli.chat(given.run, **asked))
    if given.command == "evaluate":
        return cli.exit_code(lambda: cli.evaluate(given.folder, given.labels, given.preset))
    if given.command == "rewards":
        asked = {key: value for key, value in vars(given).items() if key not in ("command", "what")}
        return cli.exit_code(lambda: cli.check_rewards(**asked))
    if given.command == "report":
        asked = {key: value for key, value in vars(given).items() if key not in ("command", "runs")}
        return cli.exit_code(lambda: cli.report(given.runs, **asked))
    if given.command == "import-wandb":
        asked = {key: value for key, value in vars(given).items() if key not in ("command", "files")}
        return cli.exit_code(lambda: cli.import_wandb(given.files, **asked))
    return cli.exit_code(cli.doctor)


def _add_control(commands: Any) -> None:
    """What is done with one run as a whole."""
    stop = commands.add_parser("stop", help="save a checkpoint and stop a run")
    stop.add_argument("run", metavar="RUN")
    stop.add_argument("--force", action="store_true", help="end it at once, without saving")
    pause = commands.add_parser("pause", help="save a checkpoint and end a run, to be continued: its GPU is free then")
    pause.add_argument("run", metavar="RUN")
    save = commands.add_parser("save", help="save a checkpoint of a run as soon as one can be taken, and go on")
    save.add_argument("run", metavar="RUN")
    extend = commands.add_parser("extend", help="plan more steps for a run that has ended; --resume then takes them")
    extend.add_argument("run", metavar="RUN")
    extend.add_argument("--steps", type=int, required=True, metavar="N", help="how many more (optimizer steps)")
    delete = commands.add_parser("delete", help="delete a run with all its files")
    delete.add_argument("run", metavar="RUN")
    delete.add_argument("--yes", action="store_true", help="do it (default: only say what would be deleted)")


def _add_export(commands: Any) -> None:
    """The options carry the names that trainer.export.export takes. Those not typed are left out: it has the defaults,
    and one that was typed can be refused where it means nothing."""
    left_out = argparse.SUPPRESS
    export = commands.add_parser("export", help="make a checkpoint loadable by others", argument_default=left_out)
    export.add_argument("run", metavar="RUN")
    export.add_argument("--to", required=True, choices=("adapter", "merged", "gguf", "hub"))
    export.add_argument("--checkpoint", metavar="best|N|latest", help="which (default: latest)")
    export.add_argument("--out", type=Path, metavar="FOLDER", help="default: exports/KIND-STEP of the run")
    export.add_argument("--dtype", choices=("bfloat16", "float32"), help="of merged (default: bfloat16)")
    export.add_argument("--quant", dest="quants", nargs="+", metavar="TYPE", help="of gguf (default: q8_0)")
    export.add_argument("--repo", metavar="USER/NAME", help="of hub")
    export.add_argument("--upload", choices=("adapter", "merged"), help="to hub; default: the adapter if there is one")
    visible = export.add_mutually_exclusive_group()
    visible.add_argument(
        "--private", action="store_true", default=left_out, help="of hub: a private repository (default)"
    )
    public = "of hub: anybody may see the repository"
    visible.add_argument("--public", dest="private", action="store_false", default=left_out, help=public)


def _up_to_100(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100")
    return int(text)


def _add_rewards(commands: Any) -> None:
    """The options carry the names that trainer.cli.check_rewards takes."""
    rewards = commands.add_parser("rewards", help="try reward functions on real rows before training")
    check = rewards.add_subparsers(dest="what", required=True).add_parser("check", help="what each pays for what")
    check.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="your own Python file (default: the preset's)"
    )
    check.add_argument("--function", dest="functions", nargs="+", default=(), metavar="NAME", help="default: all")
    check.add_argument("--data", type=Path, metavar="FILE", help="rows to try them on (default: the preset's)")
    check.add_argument("--preset", metavar="NAME", help="its data, its prompts and, without FILE, its rewards")
    check.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    check.add_argument("--rows", type=_up_to_100, default=3, metavar="N", help="1 to 100 (default: %(default)s)")
    check.add_argument(
        "--text", dest="texts", nargs="+", default=(), metavar="TEXT", help="completions of yours to try"
    )


def _add_chat(commands: Any) -> None:
    """The options carry the names that trainer.cli.chat takes."""
    chat = commands.add_parser("chat", help="talk to a checkpoint, or to the model before training")
    chat.add_argument("run", metavar="RUN")
    chat.add_argument("--checkpoint", metavar="best|N|latest", help="which (default: the best if any was evaluated)")
    sides = chat.add_mutually_exclusive_group()
    add_side = partial(sides.add_argument, dest="sides", action="store_const")
    add_side("--base", const=("base",), default=("tuned",), help="answer with the untrained weights")
    add_side("--compare", const=("base", "tuned"), help="answer with both, with the same seed")
    chat.add_argument("--prompt", metavar="TEXT", help="answer this once and end")
    chat.add_argument("--system", metavar="TEXT", help="system message (default: the run's)")
    chat.add_argument("--temperature", type=float, default=0.7, help="0 is greedy (default: %(default)s)")
    chat.add_argument("--max-new-tokens", type=int, metavar="N", help="default: the run's max_completion_length")
    chat.add_argument("--device", choices=("cpu", "cuda"), help="default: the run's; the CPU where there is no GPU")


def _add_report(commands: Any) -> None:
    """The options carry the names that trainer.cli.report takes."""
    report = commands.add_parser(
        "report", help="what a run did, in words and pictures; with several runs, a comparison"
    )
    report.add_argument("runs", nargs="+", metavar="RUN")
    report.add_argument("--step", type=int, metavar="N", help="the step to show up close (default: a dip, or the last)")
    report.add_argument("--lang", metavar="en|ko", help="language (default: this machine's, else en)")
    report.add_argument("--format", dest="form", choices=("html", "md"), default="html", help="default: %(default)s")
    report.add_argument("--out", metavar="FILE|-", help="- is standard output (default: the run's report folder)")


def _add_import(commands: Any) -> None:
    """The options carry the names that trainer.imports.bring takes."""
    brought = commands.add_parser("import-wandb", help="make a run of a history exported from W&B, to report on it")
    brought.add_argument("files", type=Path, nargs="+", metavar="FILE", help="CSV or JSON; several charts of one run")
    brought.add_argument("--name", metavar="NAME", help="of the run (default: its name in W&B, or the file's)")
    brought.add_argument("--run", metavar="NAME", help="which run of a chart that shows several")
    brought.add_argument("--preset", metavar="NAME", help="the settings it was made with")
    brought.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    brought.add_argument("--config", dest="config_file", type=Path, metavar="FILE", help="config.yaml of the W&B run")
    brought.add_argument("--gpu", metavar="NAME", help="the card it ran on, such as 4090, for the floor of its times")


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score the answers of every epoch and name the best")
    evaluate.add_argument("folder", metavar="DIR", help="a run, or a folder with inference_epochE.json files")
    evaluate.add_argument("--labels", type=Path, metavar="FILE", help="right answers (default: the run's eval data)")
    evaluate.add_argument("--preset", metavar="NAME", help="whose rewards score (default: the run's, else malpyeong)")


if __name__ == "__main__":
    sys.exit(main())
