"""`ia2 status`: what is below a root, what is being made just now, what failed, and how much room it takes."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ia2 import store
from ia2.commands.progress import FAILURE, progress_in
from ia2.config import StatusConfig
from ia2.results.costs import examine_targets
from ia2.results.runs import examine_runs


def status(config: StatusConfig) -> None:
    """Print it; another shell's sweep is seen by what it writes."""
    root = store.resolve_root(config)
    lines = [f"{root.resolve()}", *_data(root), *_targets(root), *_runs(root), *_records(root)]
    parts = {"in progress": in_progress(root), "failed": failed(root), "damaged": damaged(root)}
    for title, found in ((title, list(found)) for title, found in parts.items()):
        lines += [f"{title}:", *(f"  {line}" for line in found)] if found else []
    print("\n".join(map(shown, lines)))


def shown(line: str) -> str:
    """A line as a terminal may show it: what is no character to be printed, such as a terminal code, is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def in_progress(root: Path) -> Iterator[str]:
    """Runs that a process is at: the last step it wrote, its losses, and when."""
    for folder in sorted((root / "outputs").glob("*/*/.*.tmp")):
        run = folder.with_name(folder.name[1:].rsplit(".", 2)[0])
        progress = progress_in(folder)
        if progress is None or not store.is_locked(run):
            continue
        losses = {"train": progress.train_loss, "dev": progress.dev_loss}
        known = "".join(f", {name} loss {loss:.4g}" for name, loss in losses.items() if loss is not None)
        place = run.relative_to(root / "outputs")
        yield f"{place}: phase {progress.phase}, step {progress.step}{known}, {progress.age:.0f} s ago"


def failed(root: Path) -> Iterator[str]:
    """Runs that failed, and why: the last line of their traceback."""
    for log in sorted((root / "outputs").glob(f"*/*/*/{FAILURE}")):
        if not store.is_run(log.parent):
            lines = log.read_text(encoding="utf-8", errors="backslashreplace").strip().splitlines()
            yield f"{log.parent.relative_to(root / 'outputs')}: {lines[-1] if lines else 'unknown'}"


def damaged(root: Path) -> Iterator[str]:
    """Runs and targets of which a file is missing or not as it was written, by sizes and the digests of small files."""
    for problem in (*examine_runs(root).problems, *examine_targets(root).problems):
        yield f"{problem.path.relative_to(root / 'outputs')}: {problem.reason}"


def _data(root: Path) -> Iterator[str]:
    for path in sorted((root / "data").glob("*/main.json")):
        splits = len(store.splits_on_disk(root, path.parent.name))
        yield f"data     {path.parent.name}: {splits} splits, {in_words(size([path.parent]))}"


def _targets(root: Path) -> Iterator[str]:
    folders = [manifest.parent for manifest in (root / "outputs" / "targets").glob("*/manifest.json")]
    if folders:
        yield f"targets  {len(folders)} sets, {in_words(size(folders))}"


def _runs(root: Path) -> Iterator[str]:
    broken = {problem.path for problem in examine_runs(root).problems}
    folders = [folder for folder in store.run_folders(root) if folder not in broken]
    counted = Counter(folder.relative_to(root / "outputs").parts[:2] for folder in folders)
    for (method, dataset), number in sorted(counted.items()):
        of_kind = [folder for folder in folders if folder.relative_to(root / "outputs").parts[:2] == (method, dataset)]
        yield f"runs     {method} on {dataset}: {number}, {in_words(size(of_kind))}"


def _records(root: Path) -> Iterator[str]:
    folder = root / "outputs" / "evaluations"
    number = sum(not path.name.startswith(".") for path in folder.rglob("*.json"))
    if number:
        yield f"records  {number}, {in_words(size([folder]))}"


def size(paths: Iterable[Path]) -> int:
    """Bytes of these files, and of all that is in these folders; what goes meanwhile takes no room."""
    return sum(_size_of(file) for path in paths for file in (_files_in(path) if path.is_dir() else [path]))


def _files_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # another process has renamed or removed it
        return 0


def in_words(num_bytes: int) -> str:
    """1234567 as `1.2 MB`."""
    number, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
