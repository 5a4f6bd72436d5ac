"""The published commands, names and tables, as facts: `specification.json`, and how they are read from the readme.

The readme of the scripts that this project supersedes is its users' contract. It has no licence, so what stands here
is no copy of it: the command lines by the workflow they belong to, the files and folders of its trees, the flags of its
tables with their types and defaults, the names of runs and the situations of its troubleshooting. Who has the text
makes the file again by `python tests/published/specification.py README.txt`.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("specification.json")

WORKFLOWS = (
    "0. Environment Setup",
    "1. Dataset Preparation",
    "2. Training Models",
    "3. Evaluating Models",
    "4. Generating Plots",
    "Option 1: Individual Training",
    "Option 2: Batch Training (Recommended)",
    "Sequential Training Workflow",
    "Uncertainty Analysis Workflow",
    "Hyperparameter Sweep Workflow",
)
TABLES = ("Common Training Arguments", "Method-Specific Arguments", "Evaluation Arguments")


def read_specification(text: str) -> dict[str, Any]:
    """Everything of the readme that is a fact about its interface."""
    return {
        "scripts": re.findall(r"^[├└]── (\w+\.py)\s", text, re.MULTILINE),
        "commands": _commands(text),
        "datasets": sorted(
            {name for line in _between(text, "Supported Datasets", "Example") for name in _listed(line)}
        ),
        "arguments": {
            title: _arguments(text, title) for title in ("Common Training Arguments", "Evaluation Arguments")
        },
        "flags": sorted(set(re.findall(r"--(\w+)", text))),
        "folders": sorted(set(re.findall(r"\.\./(outputs/\S+/)", text))),
        "tree": _tree(_between(text, "Directory Structure", "🔧 Configuration Options")),
        "run_names": re.findall(r"Example: (\S+)$", text, re.MULTILINE),
        "metrics": _between(text, "Standard Evaluation", "Uncertainty Analysis")[-1]
        .partition("Metrics: ")[2]
        .split(", "),
        "troubleshooting": [line[:-1] for line in _between(text, "Common Issues", "📚 Citation") if line.endswith(":")],
    }


def _commands(text: str) -> list[dict[str, str]]:
    """Every command line in its order, with the heading it stands under; a continued line is one line."""
    found, workflow = [], ""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if line in WORKFLOWS:
            workflow = line
        if re.match(r"(python|conda) ", line):
            found.append({"workflow": workflow, "command": line})
    return found


def _between(text: str, first: str, last: str) -> list[str]:
    """The lines that say something after the line `first` and before the next that begins with `last`."""
    lines = iter(text.splitlines())
    next(line for line in lines if line == first)
    found = []
    for line in lines:
        if line.startswith(last):
            return [line for line in found if line.strip()]
        found.append(line)
    raise ValueError(f"nothing begins with {last!r} after {first!r}")


def _listed(line: str) -> list[str]:
    """The names in a line such as `• Math: gsm8k, gsm8ks`."""
    return line.partition(": ")[2].split(", ") if line.lstrip().startswith("•") else []


def _arguments(text: str, title: str) -> list[dict[str, str]]:
    """The rows `--flag type default description` of a table."""
    lines = iter(text.splitlines())
    next(line for line in lines if line == title)
    rows = []
    for line in lines:
        if row := re.match(r"--(\w+) (str|int|float|flag) (\S+) ", line):
            rows.append(dict(zip(("flag", "type", "default"), row.groups(), strict=True)))
        elif rows:
            break
    return rows


def _tree(lines: list[str]) -> list[str]:
    """The paths that a drawn tree stands for; those of folders end in a slash."""
    return list(_paths(lines))


def _paths(lines: list[str]) -> Iterator[str]:
    parents: list[str] = []
    for line in lines:
        drawn = re.match(r"^((?:[│ ] {3})*)(?:[├└]── )?(\S+)", line)
        assert drawn is not None, line
        depth = (len(drawn[0]) - len(drawn[2])) // 4
        parents = [*parents[:depth], drawn[2]]
        yield "".join(parents)


if __name__ == "__main__":
    specification = read_specification(Path(sys.argv[1]).read_text(encoding="utf-8"))
    FILE.write_text(json.dumps(specification, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
