"""python -m trainer chat: talk to a checkpoint, or to the model before training"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any


def add(commands: Any) -> None:
    """The options carry the names that `chat` takes."""
    parser = commands.add_parser("chat", help="talk to a checkpoint, or to the model before training")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--checkpoint", metavar="best|N|latest", help="which (default: the best if any was evaluated)")
    sides = parser.add_mutually_exclusive_group()
    add_side = partial(sides.add_argument, dest="sides", action="store_const")
    add_side("--base", const=("base",), default=("tuned",), help="answer with the untrained weights")
    add_side("--compare", const=("base", "tuned"), help="answer with both, with the same seed")
    parser.add_argument("--prompt", metavar="TEXT", help="answer this once and end")
    parser.add_argument("--system", metavar="TEXT", help="system message (default: the run's)")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="default: the run's max_completion_length")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the run's; the CPU where there is no GPU")
    parser.set_defaults(call=chat)


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
    from trainer import launch
    from trainer.console import language, printing, talk
    from trainer.run.rundir import RunDir, outputs_dir
    from trainer.tryit import chat as chats

    rundir = RunDir.open(outputs_dir(), run)
    length = max_new_tokens if max_new_tokens is not None else rundir.read_spec().generation.max_completion_length
    settings = chats.ChatSettings(temperature, length)
    with chats.opened(rundir, checkpoint, device, say=language.note) as opened:
        dialogues = [chats.Dialogue(opened, settings, side == "base", system) for side in sides]
        if prompt is not None:
            talk.once(dialogues, prompt, sys.stdout, sys.stderr)
        else:
            talk.converse(dialogues, printing.read, sys.stdout, sys.stderr)
    return launch.EXIT_FINISHED
