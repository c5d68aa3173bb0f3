"""Sentences of English where there should be none: three words side by side. Names, keys and commands are not."""

from __future__ import annotations

import re

from trainer.errors import Problem
from trainer.text import words

_SENTENCE = re.compile(r"(?<![\w.=<-])[A-Za-z]{2,}(?: [a-z]+){2,}(?![\w.=>-])")


def sentences(text: str) -> list[str]:
    return _SENTENCE.findall(text)


def left_in(problem: Problem) -> list[str]:
    """Sentences of English in the Korean of a problem, without what Python or a library said."""
    return sentences(str(problem.said(words("ko"))).replace(str(problem.values.get("said")), ""))
