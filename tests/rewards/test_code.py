"""The reward for programs: real programs, right and wrong, in the real sandbox."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trainer.rewards import sandbox
from trainer.rewards.contract import Failure
from trainer.rewards.library import REWARDS
from trainer.rewards.library.code import code, program_in

no_sandbox = sandbox.available()
runs_programs = pytest.mark.skipif(no_sandbox is not None, reason=no_sandbox or "")

SQUARES = [{"input": "2\n", "output": "4\n"}, {"input": "3\n", "output": "9"}]
ADD = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
RIGHT = "def add(a, b):\n    return a + b\n"


def pay(text: str, tests: Any, **params: Any) -> Any:
    return code(**params)(prompts=["p"], completions=[text], tests=[tests])[0]


@runs_programs
@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("print(int(input()) ** 2)", 1.0),
        ("print(int(input()) ** 2, end='   \\n\\n')", 1.0),
        ("print(int(input()) * 2)", 0.5),
        ("print(4)", 0.5),
        ("print(int(input()) ** 2); raise ValueError", 0.0),
        ("print(int(input()) ** 2); import sys; sys.exit(1)", 0.0),
        ("if __name__ == '__main__':\n    print(int(input()) ** 2)", 1.0),
        ("this is no program", 0.0),
        ("", 0.0),
    ],
)
def test_a_program_that_reads_and_prints_is_paid_the_share_of_right_outputs(program: str, value: float) -> None:
    assert pay(f"I think:\n```python\n{program}\n```\nDone.", SQUARES) == value


@runs_programs
@pytest.mark.parametrize(
    ("program", "value"),
    [
        (RIGHT, 1.0),
        ("def add(a, b):\n    return 3\n", 0.5),
        ("def add(a, b):\n    return 7\n", 0.0),
        (RIGHT + "print('+', 'all tests passed')", 1.0),
        (RIGHT + "if __name__ == '__main__':\n    input()", 1.0),
        (RIGHT + "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", 1.0),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int'\n" + RIGHT, 1.0),
        ("import sys; sys.exit(0)", 0.0),
        ("import os; os._exit(0)", 0.0),
        ("def add(a, b):\n    import sys; sys.exit(0)", 0.0),
        ("def add(a, b):\n    import os; os._exit(0)", 0.0),
        (
            "import os\nfor n in range(1, 20):\n    try: os.write(n, b'0' * 32)\n    except OSError: pass\nos._exit(0)",
            0.0,
        ),
        ("import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit", 0.0),
        ("raise SystemExit('+')", 0.0),
    ],
)
def test_a_program_is_paid_the_share_of_asserts_that_return_and_nothing_for_leaving_early(
    program: str, value: float
) -> None:
    assert pay(f"```python\n{program}\n```", ADD, style="assert") == value


@runs_programs
def test_one_text_with_a_check_function_is_one_test() -> None:
    test = "def check(candidate):\n    assert candidate(2, 2) == 4\n    assert candidate(1, 1) == 2\n\ncheck(add)\n"
    assert pay(RIGHT, test, style="assert") == 1.0
    assert pay("def add(a, b):\n    return 4", test, style="assert") == 0.0


@runs_programs
def test_the_time_is_that_of_all_tests_together_and_what_was_passed_before_counts() -> None:
    slow = "n = int(input())\nwhile n == 3: pass\nprint(n ** 2)"
    begin = time.monotonic()
    assert pay(slow, [*SQUARES, *SQUARES[1:] * 20], timeout_s=1.0) == pytest.approx(1 / 22)
    assert time.monotonic() - begin < 3


@runs_programs
def test_a_program_can_neither_read_the_expected_output_nor_fill_the_memory_with_its_own() -> None:
    peek = "import os\nfor n in range(64):\n    try: print(os.read(n, 9999))\n    except OSError: pass"
    assert pay(peek, [{"input": "", "output": "secret"}]) == 0.0
    assert pay("while True: print('4')", SQUARES) == 0.0


@runs_programs
def test_rows_with_unreadable_tests_fail_alone() -> None:
    judged = code()(prompts=["p"] * 2, completions=["print(int(input()) ** 2)"] * 2, tests=["no list", SQUARES])
    assert isinstance(judged[0], Failure)
    assert judged[1] == 1.0


@pytest.mark.parametrize(
    ("style", "tests", "said"),
    [
        ("stdin", [], "is not a list of tests"),
        ("stdin", None, "None is not a list of tests"),
        ("stdin", {"input": ["2"], "output": ["4"]}, "is not a list of tests"),
        ("stdin", [{"input": "2"}], "test 1 is {'input': '2'}"),
        ("stdin", [*SQUARES, {"input": "2", "output": 4}], "test 3 is"),
        ("assert", [], "is neither Python text"),
        ("assert", 3, "3 is neither Python text"),
        ("assert", ["assert add(1, 2) == 3", 3], "test 2 is 3"),
        ("assert", "assert add(1, 2 == 3", "test 1 is not Python"),
        ("assert", "assert add(1, 2) == 3\0", "test 1 is not Python"),
        ("assert", "X = {}\n\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n", "add the call"),
        ("assert", "", "tests nothing"),
    ],
)
def test_tests_that_can_not_be_read_say_why(style: str, tests: Any, said: str) -> None:
    value = pay(RIGHT, tests, style=style)
    assert isinstance(value, Failure)
    assert value.reason.startswith("column tests: ")
    assert said in value.reason


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("print(1)", "print(1)"),
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```\nor\n```Python\nprint(2)\n```", "print(2)\n"),
        ("```python\nprint(1)\n```\nOutput:\n```\n1\n```", "print(1)\n"),
        ("```bash\nls\n```\nthen\n```python\nprint(1)\n```\nend", "print(1)\n"),
        ("```python\nprint('```')\n```", "print('```')\n"),
        ("```python\nprint(1)", "```python\nprint(1)"),
        ("```text\nhello\n```", "```text\nhello\n```"),
    ],
)
def test_the_program_is_found_among_fenced_blocks(text: str, program: str) -> None:
    assert program_in(text) == program


@runs_programs
def test_a_pattern_finds_the_program_and_without_a_match_nothing_is_paid() -> None:
    pattern = r"<code>(.*?)</code>"
    assert pay("<code>print(int(input()) ** 2)</code>", SQUARES, extract=pattern) == 1.0
    assert pay("print(int(input()) ** 2)", SQUARES, extract=pattern) == 0.0


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"language": "rust"}, "only 'python'"),
        ({"style": "unittest"}, "must be one of: stdin, assert"),
        ({"timeout_s": 0.0}, "above 0"),
        ({"memory_mb": 8}, "needs 64"),
        ({"extract": "x"}, "no group"),
    ],
)
def test_params_that_do_not_fit_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        REWARDS["code"](**params)
