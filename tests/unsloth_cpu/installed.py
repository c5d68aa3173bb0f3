"""What the warm process of these tests holds: Unsloth, imported and with TRL patched."""

from __future__ import annotations

import os

from tests.unsloth_cpu import stand_in

stand_in.install(os.environ["UNSLOTH_CPU_CACHE"])
