"""python -m trainer COMMAND: look after runs. The commands are in trainer.console.commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from trainer.console import printing
from trainer.console.commands import COMMANDS


class _Parser(printing.Parser):
    """One that takes --lang, as those of the commands do: before or after a command it means the same."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # SUPPRESS: a command whose --lang was not typed must not undo the one before it.
        self.add_argument("--lang", metavar="en|ko", default=argparse.SUPPRESS, help="language (default: LANG's)")


def main(arguments: Sequence[str] | None = None) -> int:
    printing.prepare()
    parser = _Parser(prog="python -m trainer", description="Look after runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add(commands)
    given = vars(parser.parse_args(arguments))
    call, named = given.pop("call"), given.pop("lang", None)
    options = {name: value for name, value in given.items() if name not in ("command", "what")}

    from trainer.console import language  # after the flags are parsed: --help waits for nothing
    from trainer.console.exit_code import exit_code

    def run() -> int:
        language.choose(named)
        return int(call(**options))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
