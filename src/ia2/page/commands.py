"""How to get each number again: the commands that trained and evaluated what stands behind a row of the summary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ia2.results.records import Record
from ia2.results.summary import Group, SummaryRow, rows_of


@dataclass(frozen=True)
class Reproduction:
    """A model of the summary, what to type to train and evaluate its runs, and its records, below the root."""

    row: SummaryRow
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    records: tuple[Path, ...]


def reproductions(group: Group, records: Iterable[Record], root: Path) -> list[Reproduction]:
    """One for each row of a group, in their order; `records` hold at least those of the group."""
    from_path = {str(record.path): record for record in records}
    return [_reproduction(row, [from_path[path] for path in row.records], root) for row in rows_of(group.rows)]


def _reproduction(row: SummaryRow, records: Sequence[Record], root: Path) -> Reproduction:
    """What several runs have in common is typed once."""
    train = (record.run.command("train") for record in records if record.run)
    evaluate = [record.command for record in records]
    evaluate += [record.reparsed.command for record in records if record.reparsed]
    paths = tuple(record.path.relative_to(root) for record in records)
    return Reproduction(row, tuple(dict.fromkeys(train)), tuple(dict.fromkeys(filter(None, evaluate))), paths)
