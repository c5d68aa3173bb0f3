"""A reward for programs: the share of its tests that a program passes, each run in trainer.rewards.sandbox."""

from __future__ import annotations

import ast
import json
import re
import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from trainer.errors import Unfit
from trainer.rewards import sandbox
from trainer.rewards.contract import Completion, Failure, RewardFunction, Value, text_of
from trainer.rewards.library.extract import finder
from trainer.rewards.library.row_by_row import each_row
from trainer.text import Message

SPARE_BYTES = 65536
"""What a program may write beyond the expected output before it is stopped."""
LEAST_MEMORY_MB = 64

# Every opening fence takes its own closing one, so that the end of a shell block does not open a program.
_FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PREPARES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)

# What the program prints goes nowhere, and it cannot read. The word is written after the test returned, at once
# followed by the end: threads that still run do not hold it. An early exit leaves without the word.
_HARNESS = """
import json, os, sys, types

def judge():
    task = json.load(sys.stdin)
    write, leave, verdict, null = os.write, os._exit, os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    test = compile(task["test"], "test.py", "exec")
    module = sys.modules["solution"] = types.ModuleType("solution")
    exec(compile(task["program"], "solution.py", "exec"), vars(module))
    exec(test, vars(module))
    write(verdict, task["word"].encode())
    leave(0)

judge()
"""


def code(
    tests_column: str = "tests",
    style: str = "stdin",
    language: str = "python",
    timeout_s: float = 5.0,
    memory_mb: int = 256,
    extract: str | None = None,
) -> RewardFunction:
    """Share of its tests that the program in the completion passes, 0 to 1.

    The program is the last fenced block marked `python` or `py`, else the last unmarked one, else the whole text;
    `extract`, a regular expression with one group, finds it otherwise. It has the standard library only, see sandbox.
    style `stdin`: the column holds a list of {"input": text, "output": text}. The program passes when it ends with
    exit code 0 and its output is the expected one, white space at line ends and around the whole aside. Compared out
    here, where no program reaches: it cannot be faked.
    style `assert`: the column holds one Python text or a list of them (HumanEval, MBPP), run after the program in its
    namespace (`__name__` is not "__main__"). A test passes when it returns. Early exits and imitated output fail, but
    program and test share one interpreter: a program that returns objects equal to everything, replaces a builtin the
    test calls, or looks for the harness in its own memory can pass. Prefer `stdin` where the task allows it.
    timeout_s: wall clock of all tests of a completion together; tests that do not fit are not passed. memory_mb:
    address space of the program. A test costs a sandbox of its own, 23 ms on a free core (trivial program).
    A row whose tests cannot be read is a Failure. The first call raises RewardError where the sandbox does not work;
    sandbox.available() tells it beforehand for a component whose function is `code`.
    """
    if language != "python":
        raise Unfit("rewards.unfit.language", seen=repr(language))
    if style not in _STYLES:
        raise Unfit("rewards.unfit.one_of", name="style", seen=repr(style), known=list(_STYLES))
    if timeout_s <= 0:
        raise Unfit("rewards.unfit.timeout", seen=f"{timeout_s:g}")
    if memory_mb < LEAST_MEMORY_MB:
        raise Unfit("rewards.unfit.memory", seen=memory_mb, least=LEAST_MEMORY_MB)
    find = program_in if extract is None else finder(extract)
    read, passes = _STYLES[style]

    def judge_row(completion: Completion, raw: object) -> Value:
        try:
            tests = read(raw)
        except Unfit as error:
            return Failure(Message("rewards.failed.column", column=tests_column, why=error.message))
        program = find(text_of(completion))
        return 0.0 if program is None else _share(program, tests, passes, timeout_s, memory_mb)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[tests_column])

    return RewardFunction(judge, columns=(tests_column,))


def program_in(text: str) -> str:
    """The program of a text that may hold several fenced blocks: models add the output or a shell command to it."""
    blocks = [(language.lower(), body) for language, body in _FENCE.findall(text)]
    marked = [body for language, body in blocks if language in ("python", "py", "python3")]
    unmarked = [body for language, body in blocks if not language]
    program: str = (marked or unmarked or [text])[-1]
    return program


def _share(program: str, tests: list[Any], passes: Callable[..., bool], timeout_s: float, memory_mb: int) -> float:
    end = time.monotonic() + timeout_s
    passed = 0
    for test in tests:
        left_s = end - time.monotonic()
        if left_s <= 0:
            break
        passed += passes(program, test, left_s, memory_mb)
    return passed / len(tests)  # of all tests: those there was no time for count as failed


def _answers(program: str, test: tuple[str, str], left_s: float, memory_mb: int) -> bool:
    given, wanted = test
    room = len(wanted.encode("utf-8", "replace")) + SPARE_BYTES
    result = sandbox.run(program, stdin=given, timeout_s=left_s, memory_mb=memory_mb, output_bytes=room)
    return result.ok and _lines(result.stdout) == _lines(wanted)


def _returns(program: str, test: str, left_s: float, memory_mb: int) -> bool:
    word = secrets.token_hex(16)  # a word the program cannot know: printing it is how a test says that it returned
    task = json.dumps({"word": word, "program": program, "test": test})
    result = sandbox.run(_HARNESS, stdin=task, timeout_s=left_s, memory_mb=memory_mb, output_bytes=SPARE_BYTES)
    return result.ok and result.stdout == word


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _read_pairs(raw: object) -> list[tuple[str, str]]:
    if not isinstance(raw, list) or not raw:
        raise Unfit("rewards.tests.no_pairs", seen=_seen(raw), example='[{"input": "2", "output": "4"}]')
    return [_read_pair(number, test) for number, test in enumerate(raw, 1)]


def _read_pair(number: int, test: object) -> tuple[str, str]:
    pair = (test.get("input"), test.get("output")) if isinstance(test, dict) else (None, None)
    if not (isinstance(pair[0], str) and isinstance(pair[1], str)):
        raise Unfit("rewards.tests.no_pair", number=number, seen=_seen(test))
    return pair[0], pair[1]


def _read_asserts(raw: object) -> list[str]:
    tests = [raw] if isinstance(raw, str) else raw
    if not isinstance(tests, list) or not tests:
        raise Unfit("rewards.tests.no_texts", seen=_seen(raw))
    for number, test in enumerate(tests, 1):
        _check_assert(number, test)
    return tests


def _check_assert(number: int, test: object) -> None:
    if not isinstance(test, str):
        raise Unfit("rewards.tests.no_text", number=number, seen=_seen(test))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the data's own spelling, `\d` in a text
            body = ast.parse(test).body
    except (SyntaxError, ValueError) as error:
        raise Unfit("rewards.tests.not_python", number=number, said=str(error)) from None
    if all(isinstance(statement, _PREPARES) or _is_text(statement) for statement in body):
        # HumanEval's column defines check(candidate) and leaves the call to the reader: every program would pass.
        raise Unfit("rewards.tests.nothing", number=number)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _seen(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_STYLES: dict[str, tuple[Callable[[Any], list[Any]], Callable[..., bool]]] = {
    "stdin": (_read_pairs, _answers),
    "assert": (_read_asserts, _returns),
}
