"""What GPUs can do at best: memory bandwidth and arithmetic, from the data sheets.

For the distance of a measured time from the floor, and for nothing that decides whether a run starts. Names are those
of the driver ("NVIDIA GeForce RTX 4090") or as people say them ("4090", "H100"). A card that is not in the table has no
floor: nothing is guessed.

Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuModel:
    """One GPU model. bandwidth_gb_s: of its memory, 10^9 bytes a second. tflops: dense 16-bit tensor arithmetic with
    32-bit accumulation, 10^12 operations a second; that of the data sheet, without sparsity."""

    name: str
    bandwidth_gb_s: float
    tflops: float


# Vendor's data sheets. Longer names first where one is part of another: the first that fits counts.
_CARDS: tuple[tuple[str, GpuModel], ...] = tuple(
    (pattern, GpuModel(name, bandwidth, tflops))
    for pattern, name, bandwidth, tflops in (
        (r"\bgb200\b", "GB200", 8000, 2500),
        (r"\bb200\b", "B200", 8000, 2250),
        (r"gh200.*hbm3e", "GH200 HBM3e", 4900, 989),
        (r"gh200", "GH200", 4000, 989),
        (r"h200.*nvl", "H200 NVL", 4800, 835),
        (r"h200", "H200", 4800, 989),
        (r"h100.*nvl", "H100 NVL", 3900, 835),
        (r"h100.*pcie", "H100 PCIe", 2000, 756),
        (r"h100", "H100", 3350, 989),
        (r"\ba100\b.*80.*pcie|\ba100\b.*pcie.*80", "A100 80 GB PCIe", 1935, 312),
        (r"\ba100\b.*80", "A100 80 GB", 2039, 312),
        (r"\ba100\b.*40", "A100 40 GB", 1555, 312),
        (r"\ba100\b", "A100", 1555, 312),
        (r"\bl40s\b", "L40S", 864, 362),
        (r"\bl40\b", "L40", 864, 181),
        (r"\bl4\b", "L4", 300, 121),
        (r"\ba10g\b", "A10G", 600, 70),
        (r"\ba10\b", "A10", 600, 125),
        (r"\ba30\b", "A30", 933, 165),
        (r"\ba40\b", "A40", 696, 150),
        (r"\bt4\b", "T4", 320, 65),
        (r"v100s", "V100S", 1134, 130),
        (r"v100.*pcie", "V100 PCIe", 900, 112),
        (r"v100", "V100", 900, 125),
        (r"rtx pro 6000.*server", "RTX PRO 6000 Blackwell Server", 1597, 480),
        (r"rtx pro 6000", "RTX PRO 6000 Blackwell", 1792, 504),
        (r"6000 ada", "RTX 6000 Ada", 960, 364),
        (r"a6000", "RTX A6000", 768, 155),
        (r"a5000", "RTX A5000", 768, 111),
        (r"a4000", "RTX A4000", 448, 77),
        (r"5090", "RTX 5090", 1792, 210),
        (r"5080", "RTX 5080", 960, 113),
        (r"5070 ti", "RTX 5070 Ti", 896, 88),
        (r"5070", "RTX 5070", 672, 62),
        (r"5060 ti", "RTX 5060 Ti", 448, 47),
        (r"4090 d\b", "RTX 4090 D", 1008, 147),
        (r"4090", "RTX 4090", 1008, 165),
        (r"4080 super", "RTX 4080 SUPER", 736, 104),
        (r"4080", "RTX 4080", 717, 97),
        (r"4070 ti super", "RTX 4070 Ti SUPER", 672, 88),
        (r"4070 ti", "RTX 4070 Ti", 504, 80),
        (r"4070 super", "RTX 4070 SUPER", 504, 71),
        (r"4070", "RTX 4070", 504, 58),
        (r"4060 ti", "RTX 4060 Ti", 288, 44),
        (r"4060", "RTX 4060", 272, 30),
        (r"3090 ti", "RTX 3090 Ti", 1008, 80),
        (r"3090", "RTX 3090", 936, 71),
        (r"3080 ti", "RTX 3080 Ti", 912, 68),
        (r"3080", "RTX 3080", 760, 59),
        (r"3070 ti", "RTX 3070 Ti", 608, 43),
        (r"3070", "RTX 3070", 448, 40),
        (r"3060 ti", "RTX 3060 Ti", 448, 32),
        (r"3060", "RTX 3060", 360, 25),
        (r"2080 ti", "RTX 2080 Ti", 616, 54),
    )
)
# A laptop's chip, a part of a card (MIG, vGPU) and a card made slower for one market have less than the name's figures.
_LESS = re.compile(r"laptop|mobile|max q|\bmig\b|\bgrid\b|5090 d\b")
NAMES: tuple[str, ...] = tuple(card.name for _, card in _CARDS)


def gpu_model_named(name: str | None) -> GpuModel | None:
    """The card of that name; None when it is not in the table, or is less than the card of that name."""
    text = re.sub(r"[-_]", " ", (name or "").lower())
    if not text or _LESS.search(text):
        return None
    return next((card for pattern, card in _CARDS if re.search(pattern, text)), None)
