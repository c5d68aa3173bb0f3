"""Names of GPUs as drivers and people write them."""

from __future__ import annotations

import pytest

from trainer.machine.gpu_models import NAMES, gpu_model_named


@pytest.mark.parametrize(
    ("name", "card", "gb_s"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090", 1008),
        ("NVIDIA H100 80GB HBM3", "H100", 3350),
        ("NVIDIA H100 PCIe", "H100 PCIe", 2000),
        ("NVIDIA H100 NVL", "H100 NVL", 3900),
        ("NVIDIA H200", "H200", 4800),
        ("NVIDIA GH200 480GB", "GH200", 4000),
        ("NVIDIA A100-SXM4-40GB", "A100 40 GB", 1555),
        ("NVIDIA A100-SXM4-80GB", "A100 80 GB", 2039),
        ("NVIDIA A100-PCIE-40GB", "A100 40 GB", 1555),
        ("NVIDIA A100 80GB PCIe", "A100 80 GB PCIe", 1935),
        ("NVIDIA H200 NVL", "H200 NVL", 4800),
        ("NVIDIA GB200", "GB200", 8000),
        ("NVIDIA GH200 144G HBM3e", "GH200 HBM3e", 4900),
        ("Tesla V100S-PCIE-32GB", "V100S", 1134),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell Server", 1597),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell", 1792),
        ("NVIDIA GeForce RTX 4090 D", "RTX 4090 D", 1008),
        ("NVIDIA GeForce RTX 4070 SUPER", "RTX 4070 SUPER", 504),
        ("NVIDIA GeForce RTX 3070 Ti", "RTX 3070 Ti", 608),
        ("Tesla T4", "T4", 320),
        ("Tesla V100-SXM2-16GB", "V100", 900),
        ("NVIDIA L4", "L4", 300),
        ("NVIDIA L40S", "L40S", 864),
        ("NVIDIA A10G", "A10G", 600),
        ("NVIDIA RTX A6000", "RTX A6000", 768),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 960),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti SUPER", 672),
        ("NVIDIA GeForce RTX 4070", "RTX 4070", 504),
        ("NVIDIA GeForce RTX 3060 Ti", "RTX 3060 Ti", 448),
        ("NVIDIA GeForce RTX 5090", "RTX 5090", 1792),
        ("4090", "RTX 4090", 1008),
        ("h100", "H100", 3350),
    ],
)
def test_a_card_is_known_by_its_drivers_and_its_common_name(name: str, card: str, gb_s: float) -> None:
    found = gpu_model_named(name)
    assert found is not None and (found.name, found.bandwidth_gb_s) == (card, gb_s)


@pytest.mark.parametrize(
    "name",
    [
        "",
        None,
        "GeForce 256",
        "NVIDIA GeForce GTX 1080",
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "NVIDIA L400",
        "AMD 40",
        "NVIDIA RTX A1000",
        "NVIDIA RTX A1000 6GB Laptop GPU",
        "NVIDIA T400",
        "Quadro RTX 6000",
        "NVIDIA A800",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "GRID A100D-80C",
        "NVIDIA GeForce RTX 5090 D v2",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    ],
)
def test_of_any_other_nothing_is_guessed(name: str | None) -> None:
    assert gpu_model_named(name) is None


def test_every_card_is_found_by_its_own_name() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for name in NAMES:
        found = gpu_model_named(name)
        assert found is not None and found.name == name
        assert 200 < found.bandwidth_gb_s < 10_000 and 20 < found.tflops < 3_000
