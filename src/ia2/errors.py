"""The two kinds of failure a person is told about in one line.

Neither is a ValueError: pydantic and tyro wrap those in boxes of their own, and the message has to arrive as written.
The command line exits with 2 for what the user can mend and with 1 for what the machine did.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice


class UserError(Exception):
    """Something asked for cannot be done: the message names the value, the valid ones and the remedy (exit code 2)."""


class MachineError(Exception):
    """Something outside the program failed, such as a disk, a download or a device (exit code 1)."""


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, naming the valid word that is like the one given, whatever its case; else nothing."""
    folded = {word.casefold(): word for word in islice(valid, 10_000)}
    near = get_close_matches(given.casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
