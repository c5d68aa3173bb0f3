"""Rules of what is recorded, and who is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.errors import Problem
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec

_ADDRESS = re.compile(r"https?://[^\s/]+\S*|\$[A-Za-z_][A-Za-z0-9_]*")


@rule("log.webhook")
def _a_webhook_is_an_address(spec: RunSpec) -> Iterator[Problem]:
    if spec.log.webhook is not None and not _ADDRESS.fullmatch(spec.log.webhook):
        yield Problem("presets.webhook", "log.webhook")
