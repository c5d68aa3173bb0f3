"""Train a language model with GRPO on one GPU: opens the page; --headless does without it."""

from __future__ import annotations

import sys

from trainer.console.printing import Parser, prepare


def main(arguments: list[str] | None = None) -> int:
    prepare()
    parser = Parser(prog="app.py", description=__doc__)
    add = parser.add_argument
    add("--headless", action="store_true", help="train without a browser")
    add("--preset", metavar="NAME|FILE", help="a preset's name, or the path of a .toml")
    add("--recipe", metavar="NAME|FILE", action="append", default=[], help="lay a published recipe over the preset")
    add("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="change a value; of --resume: a path")
    add("--name", help="name of the new run; else the preset's with a number")
    add("--resume", metavar="RUN", help="go on with a run that was stopped, failed or lost")
    add("--checkpoint", metavar="best|N|latest", help="of --resume: go back to it (default: latest)")
    add("--force", action="store_true", help="of --resume: go on although settings or rows were changed")
    add("--queue", action="store_true", help="of --headless: let the new run wait until others have ended")
    add("--dry-run", action="store_true", help="print the plan of a run and stop")
    add("--list-presets", action="store_true", help="list the presets and stop")
    add("--list-recipes", action="store_true", help="list the recipes and stop")
    add("--host", default="127.0.0.1", help="address the page listens on (default: %(default)s)")
    add("--port", type=int, default=7860, help="port of the page (default: %(default)s)")
    add("--auth-file", metavar="FILE", help="ask for the USER:PASSWORD in it; so does $ONEGRPO_AUTH")
    add("--auth", metavar="USER:PASSWORD", help="the same; every user of the machine sees it in ps")
    add("--lang", metavar="en|ko", help="language of the console (default: LANG's)")
    given = parser.parse_args(arguments)

    from trainer.console import flags, language  # after the flags are parsed: --help waits for nothing
    from trainer.console.commands import train
    from trainer.console.exit_code import exit_code

    def run() -> int:
        language.choose(given.lang)
        if wrong := flags.conflict(given):
            parser.error(wrong)
        if given.list_presets:
            return train.show_presets()
        if given.list_recipes:
            return train.show_recipes()
        if given.dry_run:
            return train.dry_run(given.preset, given.set, given.recipe)
        if given.resume:
            return train.resume(given.resume, given.checkpoint, given.set, given.force)
        if given.headless:
            return train.headless(given.preset, given.set, given.name, given.queue, given.recipe)
        from trainer.ui import serve

        return serve(host=given.host, port=given.port, auth=given.auth, auth_file=given.auth_file)

    return exit_code(run)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while the commands are being imported
        sys.exit(130)
