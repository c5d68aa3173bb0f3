"""Finding the answer in a text."""

from __future__ import annotations

import re
from collections.abc import Callable


def finder(pattern: str | None) -> Callable[[str], str | None]:
    """Text -> stripped first group of the last match (a model may think aloud before it answers); None without one."""
    if pattern is None:
        return str.strip
    compiled = re.compile(pattern, re.DOTALL)

    def find(text: str) -> str | None:
        found = [match.group(1) for match in compiled.finditer(text)]
        return found[-1].strip() if found else None

    return find
