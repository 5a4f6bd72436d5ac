"""Hostile inputs and kills: a sample of what `fuzz.py` tries, and, slowly, all of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def tried(*arguments: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """What the script printed, and for each kind how many were tried and failed."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fuzz.py")), *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"})
    counts = re.findall(r"^(\w+): (\d+) tried, (\d+) failed$", ended.stdout, re.MULTILINE)
    return ended.stdout + ended.stderr, {kind: (int(num), int(failed)) for kind, num, failed in counts}


@pytest.mark.slow
@pytest.mark.timeout(1200)  # on a busy machine; a minute on an idle one
def test_a_sample_ends_well_and_what_is_faulty_is_found() -> None:
    told, counts = tried("--inputs", "8", "--kills", "1", "--jobs", "1", "--faulty")
    assert counts.pop("faulty") == (7, 7), told
    assert sum(num for num, _ in counts.values()) == 9, told
    assert not any(failed for _, failed in counts.values()), told


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("seed", ["1"])
def test_all_end_well(seed: str) -> None:
    told, counts = tried("--inputs", "620", "--kills", "200", "--jobs", "2", "--seed", seed)
    assert sum(num for num, _ in counts.values()) == 820, told
    assert not any(failed for _, failed in counts.values()), told
