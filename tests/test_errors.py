"""What many jobs fail for: said once, with how many."""

import logging
from pathlib import Path

import pytest

from ia2.errors import Failure, MachineError, UserError, raise_failures, said_once


def test_a_reason_is_said_once_with_the_first_and_the_number_of_others() -> None:
    failures = [*((f"run {number}", "no such split") for number in range(30)), ("run 30", "no memory")]
    first, other = said_once(failures)
    assert first.startswith("run 0 and 29 more: ")
    assert other == "run 30: no memory"
    assert said_once([]) == []


def test_what_all_share_is_the_error_and_what_some_share_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    same = [Failure(Path(f"record{number}"), UserError("no such split")) for number in range(30)]
    with pytest.raises(UserError, match="no such split"):
        raise_failures(same, 30)
    assert not caplog.messages
    with caplog.at_level(logging.ERROR, "ia2"), pytest.raises(MachineError, match="30 of 31"):
        raise_failures(same, 31)
    assert len(caplog.messages) == 1
