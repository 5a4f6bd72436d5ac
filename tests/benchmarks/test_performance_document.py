"""docs/performance.md names every row with its bar, tests that exist, and the room that the formulas give."""

import re
from pathlib import Path

import bench_collect
import bench_evaluate
import bench_train
import torch
from shapes import QWEN3_4B
from sizes import LLAMA_70B, Shape, shape_of
from transformers import Qwen3Config

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
SMOLLM2 = Shape(30, 576, 1536, 49152, num_heads=9, num_key_value_heads=3, head_width=64, bytes_per_number=4)


def cells(heading: str) -> list[list[str]]:
    """The rows of all tables below a heading."""
    below = re.split(r"^#+ ", DOCUMENT.split(f"# {heading}\n")[1], flags=re.MULTILINE)[0]
    lines = [line for line in below.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def bars(heading: str) -> dict[str, float]:
    return {row[0].strip("` "): float(row[2]) for row in cells(heading) if "`" in row[0]}


def test_every_row_stands_there_with_its_bar() -> None:
    modules = (bench_collect, bench_train, bench_evaluate)
    assert bars("On a CPU") == {row.name: row.bar for module in modules for row in module.ON_CPU}
    assert bars("On a GPU") == {row.name: row.bar for module in modules for row in module.ON_GPU}


def test_what_is_said_to_hold_a_formula_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    defined = {name for file in TESTS.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) == 8
    assert named <= defined


def test_the_room_is_what_the_formulas_give() -> None:
    shapes = (SMOLLM2, shape_of(Qwen3Config(**QWEN3_4B), torch.bfloat16), LLAMA_70B)
    said = [row[1:] for row in cells("Scale") if row[1].endswith(" GB")]
    assert said == [
        [f"{shape.weight_bytes / 1e9:.2f} GB"]
        + [f"{room / 1e3:.1f} kB" for room in (shape.cache_bytes, shape.target_bytes, shape.kept_bytes(8, 3))]
        for shape in shapes
    ]


def test_what_70b_would_need_follows() -> None:
    """The figures of the list, in its order."""
    big, text = LLAMA_70B, DOCUMENT.split("### What 70B would need")[1]
    for figure in (
        f"{big.weight_bytes / 1e9:.0f} GB",
        f"{32 * 3200 * big.cache_bytes / 1e9:.1f} GB",
        f"2 x {big.body_weights / 1e9:.1f}e9 x 96,000 = {2 * big.body_weights * 96000 / 1e15:.1f}e15",
        f"T = 200 are {16 * 200 * big.target_bytes / 1e9:.1f} GB",
        f"T = 1 are {128 * big.target_bytes / 1e9:.2f} GB",
        f"T = 1 are {24000 * big.target_bytes / 1e9:.1f} GB",
        f"{big.kept_bytes(8, 3) / 1e6:.1f} MB",
        f"{400 * big.kept_bytes(8, 3) / 1e9:.1f} GB",
        f"{big.adapter_bytes(8) / 4e6:.1f} million",
        f"{big.adapter_bytes(8) / 1e6:.0f} MB",
        f"{4 * big.adapter_bytes(8) / 1e9:.2f} GB",
    ):
        assert figure in text.replace("\n ", ""), figure
