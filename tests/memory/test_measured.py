"""Peak memory is that of the process that asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

SMALL = "from trainer.memory.measured import peak_gib; print(peak_gib())"
LARGE = f"""
import subprocess, sys
held = bytearray(b"x" * (300 << 20))
print(subprocess.run([sys.executable, "-c", {SMALL!r}], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux says of a process")
def test_a_parent_that_holds_much_is_not_counted() -> None:
    alone, of_a_large_parent = (
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (SMALL, LARGE)
    )
    assert of_a_large_parent == pytest.approx(alone, abs=0.05)
