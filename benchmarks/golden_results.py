"""Golden numbers of everything that is shown: tables, pages and figures of two made-up stores, in any edition.

    python benchmarks/golden_results.py stores DIR          a demo's worth, and 500 records
    PYTHONPATH=.../src python benchmarks/golden_results.py write DIR VALUES.csv
    python benchmarks/golden_results.py compare OLD.csv NEW.csv [--expected 'PATTERN' ...]

`write` types the commands of whichever ia2 is imported on copies of the stores and keeps each number of the files that
they write, and of each figure the data of its artists, never words or limits of axes. `compare` ends with 1 where a
number changed or is missing.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import pandas as pd
from golden import difference
from matplotlib.figure import Figure

COMMANDS = (
    "results",
    "results --hp_selection performance --out reports/published.csv",
    "tables --compare published",
    "tables --metrics accuracy nll --hp_selection performance",
    "report",
    "report --hp_selection performance --out reports/published.html",
    "plot-all",
)
IDENTITY = ("record", "trained_dataset", "eval_dataset", "source", "method", "with_icl", "details", "metric")
UNSTABLE = ("What it cost",)

# Stores


def write_stores(folder: Path) -> None:
    """The store of `fill` with a control, and one of 500 records of four methods, two N and three datasets."""
    from made_up import MadeUpStore, config, fill, num_dev, settings  # noqa: PLC0415 - a test's

    small = MadeUpStore(folder / "demo")
    fill(small)
    small.base((0.0, 40.0), 0, eval=settings(control="wrong_labels"))
    large = MadeUpStore(folder / "large")
    generator, sets = np.random.default_rng(0), ("capitals", "towns", "rivers")
    for num in (4, 8):
        for run_idx in range(6):
            for trained in sets:
                for evaluated in sets:
                    asked = settings(
                        run_idx=run_idx, num_train_examples=num, eval_dataset=evaluated, icl_source_dataset=trained
                    )
                    accuracy = tuple(generator.integers(2, 38, size=2) * 2.5)
                    if trained == evaluated or num == 8:
                        scatter(large.base(accuracy, run_idx, eval=asked), generator)
                    for method, lrs in {"tok": (3e-4, 1e-3), "act": (1e-3,), "a2t": (1e-3,)}.items():
                        for lr in lrs:
                            run = config(method, run_idx, lr, dataset=trained, num_train_examples=num)
                            loss = float(generator.uniform(0.2, 2))
                            if evaluated == sets[0]:
                                large.run(run, loss)
                            used = {"train": num, "dev": min(num_dev(run), num // 2)}
                            accuracy = float(generator.integers(2, 38) * 2.5)
                            scatter(large.adapter(run, accuracy, loss, eval=asked, labels_used=used), generator)
    print(f"{len(small.written)} and {len(large.written)} records below {folder}")


def scatter(path: Path, generator: np.random.Generator) -> None:
    """Right answers at random places, as many as they were, and other calibration errors."""
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    for shown in rows["with_icl"].unique():
        part = rows["with_icl"] == shown
        rows.loc[part, "correct"] = generator.permutation(rows.loc[part, "correct"].to_numpy())
    rows["gold_log_prob"] = -generator.exponential(size=len(rows))
    rows.to_parquet(path.with_suffix(".parquet"))
    content = json.loads(path.read_text(encoding="utf-8"))
    for name in content["metrics"]:
        if name.endswith(("ece_equal_count", "nll")):
            content["metrics"][name] = float(generator.uniform(0, 1))
    path.write_text(json.dumps(content), encoding="utf-8")


# Numbers


def write(folder: Path, out: Path) -> None:
    """The numbers of both stores, in a file."""
    values: dict[str, str] = {}
    for name in ("demo", "large"):
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary).resolve() / name
            shutil.copytree(folder / name, root)
            values |= dict(values_of(name, root))
    pd.DataFrame({"name": values.keys(), "value": values.values()}).to_csv(out, index=False)
    print(f"{len(values)} values in {out}")


def values_of(name: str, root: Path) -> Iterator[tuple[str, str]]:
    from ia2.cli import main  # noqa: PLC0415 - comparing needs none

    figures: dict[str, list[str]] = {}

    def savefig(figure: Figure, path: Path, **_: Any) -> None:
        stem = re.sub(r"^\.?(.*?)(\.png|\.pdf).*$", r"\1", Path(path).name)
        figures[f"{Path(path).parent.relative_to(root)}/{stem}"] = list(drawn(figure))
        Path(path).write_bytes(b"")

    saved, Figure.savefig = Figure.savefig, savefig  # type: ignore[method-assign,assignment]
    try:
        for command in COMMANDS:
            typed = [*command.replace("--out ", f"--out {root}/").split(), "--root", str(root)]
            began = time.perf_counter()
            if code := main(typed):
                raise SystemExit(f"ia2 {command}: exit code {code}")
            print(f"{name}: {time.perf_counter() - began:6.1f} s: ia2 {command}", file=sys.stderr)
    finally:
        Figure.savefig = saved  # type: ignore[method-assign]
    for path in sorted((root / "reports").rglob("*.csv")):
        for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"):
            key = " ".join(row[column] for column in IDENTITY if column in row)
            yield from ((f"{name}/{path.name}/{key}/{column}", str(value)) for column, value in row.items())
    for path in sorted((root / "reports").glob("*.html")):
        for place, cell in enumerate(Cells(path.read_text(encoding="utf-8")).found):
            yield f"{name}/{path.name}/{place}", cell
    for stem, numbers in sorted(figures.items()):
        yield from ((f"{name}/{stem}/{place}", number) for place, number in enumerate(numbers))


def drawn(figure: Figure) -> Iterator[str]:
    """The data of the artists of each axes, sorted: lines, bars, and the segments of whiskers and bands."""
    for axes in figure.axes:
        found: list[tuple[float, ...]] = [tuple(np.ravel(line.get_xydata())) for line in axes.lines]
        found += [
            (one.get_x(), one.get_width(), one.get_height()) for one in axes.patches if hasattr(one, "get_height")
        ]
        for collection in axes.collections:
            found += [tuple(np.ravel(path.vertices)) for path in collection.get_paths()]
        for numbers in sorted(found, key=repr):
            yield " ".join(format(float(number), ".9g") for number in numbers)


class Cells(HTMLParser):
    """The numbers that the page sorts its tables by, of those that a second run repeats."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.counts = True
        self.heading = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.heading = tag == "h2"
        number = dict(attrs).get("data-number")
        if self.counts and number is not None:
            self.found.append(number)

    def handle_data(self, data: str) -> None:
        if self.heading:
            self.counts, self.heading = data not in UNSTABLE, False


def compare(old: Path, new: Path, expected: list[str]) -> int:
    """Print every difference and return 1 where one matches no pattern of `expected`."""
    one, other = (
        dict(pd.read_csv(path, dtype=str, keep_default_na=False).itertuples(index=False, name=None))
        for path in (old, new)
    )
    found, unexpected = 0, 0
    for name in sorted(one.keys() | other.keys()):
        if what := difference(one.get(name), other.get(name), 1e-9):
            fine = any(re.search(pattern, name) for pattern in expected)
            print(f"{'expected' if fine else 'CHANGED'} {name}: {what}")
            found, unexpected = found + 1, unexpected + (not fine)
    print(f"{found} differences, {unexpected} of them unexpected, of {len(one)} values")
    return int(unexpected > 0)


def main_() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("stores", "write", "compare"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--expected", nargs="*", default=[])
    given = parser.parse_args()
    if given.command == "compare":
        return compare(*given.paths, given.expected)
    {"stores": write_stores, "write": write}[given.command](*given.paths)
    return 0


if __name__ == "__main__":
    sys.exit(main_())
