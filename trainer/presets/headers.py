"""The comment a preset starts with: what it needs and what was measured, as messages.

    GPU: 24 GB or more | none needed
    Measured: 2 CPU cores, 2026-11-20, commit d913a61: 0.41 s a step, 0.79 GiB, reward 0.60 -> 1.42 of 1.5 in 150 steps.

Of a reward model `pairs 53 -> 78 %` stands in place of the reward: held-out pairs ordered right.

A line of another form is what a person wrote, and is shown as it is. No third-party package.
"""

from __future__ import annotations

import re

from trainer.text import Message

_GPU = re.compile(r"(\d+) GB or more")
_NO_GPU = "none needed"
_MEASURED = re.compile(
    r"(?P<device>[^,]+), (?P<date>\d{4}-\d\d-\d\d), commit (?P<commit>\w+): (?P<seconds>[\d.]+) s a step, "
    r"(?P<gib>[\d.]+) GiB, (?P<what>reward|pairs) (?P<before>[-\d.]+) -> (?P<after>[-\d.]+) (?:of )?(?P<most>[\d.]+|%) "
    r"in (?P<steps>\d+) steps\.?"
)
_TABLE = re.compile(r"\[+([\w.]+)\]")
# In quotes a # is no comment.
_VALUE = re.compile(r"""(?P<key>[\w.]+)\s*=\s*(?P<value>(?:"[^"]*"|'[^']*'|[^"'#])+?)\s*#\s*(?P<reason>.+)""")
_NO_REASON = frozenset({"title", "titles.ko"})
_COMMAND = re.compile(r"(?:Run: +)?python ")
_ALONE = re.compile(rf"(?:GPU|Measured|unmeasured):|The plan card|{_COMMAND.pattern}")
_CORES = re.compile(r"(\d+) CPU cores")


def header(text: str) -> list[str]:
    """The comment lines a preset starts with, without their `#`."""
    lines = []
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def paragraphs(text: str) -> list[str]:
    """The same as somebody reads it: lines that go on are one text; what is said by its first word stands alone."""
    found: list[list[str]] = [[]]
    for line in header(text):
        if not line or _ALONE.match(line) or (found[-1] and _ALONE.match(found[-1][0])):
            found.append([])
        if line:
            found[-1].append(line)
    return [" ".join(lines) for lines in found if lines]


def is_command(line: str) -> bool:
    return _COMMAND.match(line) is not None


def reasons(text: str) -> list[tuple[str, str, str]]:
    """(key, value, reason) of every value of a preset with a comment beside it. Values in several lines have none."""
    table, found = "", []
    for line in text.split("\n"):
        if head := _TABLE.match(line):
            table = f"{head[1]}."
        elif (value := _VALUE.match(line)) and table + value["key"] not in _NO_REASON:
            found.append((table + value["key"], value["value"], value["reason"].strip()))
    return found


def gpu(lines: list[str]) -> Message | None:
    """The GPU it needs; None where the header does not say."""
    said = _after("GPU:", lines)
    if found := _GPU.fullmatch(said):
        return Message("presets.gpu_at_least", gb=int(found[1]))
    if said == _NO_GPU:
        return Message("presets.gpu_none")
    return Message.read(said) if said else None


def measured(lines: list[str]) -> Message | None:
    """Device, date, commit and figures; None for an unmeasured preset."""
    said = _after("Measured:", lines)
    found = _MEASURED.fullmatch(said)
    if found is None:
        return Message.read(said) if said else None
    cores = _CORES.fullmatch(found["device"])
    device = Message("presets.cpu_cores", count=int(cores[1])) if cores else found["device"]
    facts = {name: value for name, value in found.groupdict().items() if name != "what"} | {"device": device}
    if found["what"] == "pairs":
        del facts["most"]
        return Message("presets.measured_pairs", **facts)
    return Message("presets.measured", **facts)


def _after(head: str, lines: list[str]) -> str:
    return next((line.removeprefix(head).strip() for line in lines if line.startswith(head)), "")
