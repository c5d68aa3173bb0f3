"""docs/commands.md has every command and option, and no other; every command on a page can be typed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence

import pytest

import app
from tests.docs.reading import PROJECT, commands, inline, named, page, pages, parts
from trainer import __main__ as module

Main = Callable[[Sequence[str] | None], int]
MAINS: dict[str, Main] = {"app.py": app.main, "-m trainer": module.main}  # type: ignore[dict-item]


class _Parsed(BaseException):
    """Of the parser that a command parses its arguments with: nothing runs."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(main: Main) -> argparse.ArgumentParser:
    def stop(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Parsed(self)

    with pytest.MonkeyPatch.context() as patch:
        for method in ("parse_args", "parse_known_args"):
            patch.setattr(argparse.ArgumentParser, method, stop)
        try:
            main([])
        except _Parsed as found:
            return _exact(found.parser)
    raise AssertionError("it parses no arguments")


def _exact(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same, which takes no option that is only begun: --head for --headless."""
    parser.allow_abbrev = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _exact(inner)
    return parser


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Its long options, without --help."""
    found = {option for action in parser._actions for option in action.option_strings}
    return {option for option in found if option.startswith("--")} - {"--help"}


def below(parser: argparse.ArgumentParser, name: str) -> dict[str, set[str]]:
    """{command: its options}, those of commands of commands too. --lang, which all of them take, is of the first."""
    found = {name: options(parser)}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if name.count(" ") > 2:  # `rewards` alone does nothing
                found.pop(name)
            for command, inner in action.choices.items():
                found |= {each: those - {"--lang"} for each, those in below(inner, f"{name} {command}").items()}
    return found


def known() -> dict[str, set[str]]:
    return {
        "python app.py": options(parser_of(MAINS["app.py"])),
        **below(parser_of(MAINS["-m trainer"]), "python -m trainer"),
    }


def documented(text: str) -> dict[str, set[str]]:
    return {name: set(named(part)) for name, part in parts(text).items() if name.startswith("python ")}


def differences(text: str) -> dict[str, set[str]]:
    """{command: options that only one side has}; a whole command as itself."""
    ours, theirs = known(), documented(text)
    found = {name: {name} for name in ours.keys() ^ theirs.keys()}
    return found | {name: ours[name] ^ theirs[name] for name in ours.keys() & theirs if ours[name] != theirs[name]}


def refused(text: str) -> list[str]:
    """Commands of a text that their parser does not take."""
    found = []
    for program, arguments in commands(text):
        try:
            parser_of(MAINS[program]).parse_args(arguments)
        except SystemExit:
            found.append(" ".join([program, *arguments]))
    return found + unknown(text)


def unknown(text: str) -> list[str]:
    """Commands inside a sentence whose name or one of whose options does not exist; RUN and the like are left out."""
    options_of, found = known(), []
    for words in inline(text):
        name = next(name for name in sorted(options_of, key=len, reverse=True) if f"{words} ".startswith(f"{name} "))
        rest = words.removeprefix(name).split()
        named_one = name != "python -m trainer" or not rest or rest[0] in ("COMMAND", "...")
        wrong = [word for word in rest if word.startswith("--") and word not in options_of[name] | {"--lang"}]
        found += [f"{name} {' '.join(wrong or rest[:1])}"] if wrong or not named_one else []
    return found


def variables() -> set[str]:
    sources = [*(PROJECT / "trainer").rglob("*.py"), *(PROJECT / "tools").glob("*.py")]
    return {name for path in sources for name in re.findall(r"ONEGRPO_[A-Z]+", path.read_text(encoding="utf-8"))}


def test_every_command_and_option_is_documented_and_no_other() -> None:
    assert differences(page("docs/commands.md")) == {}


def test_every_variable_is_documented_and_no_other() -> None:
    assert set(re.findall(r"`(ONEGRPO_\w+)`", page("docs/commands.md"))) == variables()


@pytest.mark.parametrize("name", pages())
def test_every_command_on_a_page_can_be_typed(name: str) -> None:
    assert refused(page(name)) == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    for name, text in pages().items():
        assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, re.MULTILINE)) <= targets, name


def test_a_wrong_page_of_commands_is_found() -> None:
    text = page("docs/commands.md")
    found = differences(text.replace("| `--force` |", "| `--farce` |"))
    assert found["python -m trainer stop"] == {"--force", "--farce"}
    found = differences(text.replace("## python -m trainer pause", "## python -m trainer rest"))
    assert {"python -m trainer pause", "python -m trainer rest"} <= found.keys()


def test_a_wrong_command_is_found() -> None:
    lines = ["python -m trainer stop RUN | pause RUN", "$ python app.py --headles", "python -m trainer export r --to x"]
    assert refused("".join(f"    {line}\n" for line in lines)) == ["app.py --headles", "-m trainer export r --to x"]
    assert refused("Type `python -m trainer export RUN --two` or `python -m trainer reports`.") == [
        "python -m trainer export --two",
        "python -m trainer reports",
    ]
