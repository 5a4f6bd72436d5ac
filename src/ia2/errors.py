"""The two kinds of failure a person is told about in one line.

Neither is a ValueError: pydantic and tyro wrap those in boxes of their own, and the message has to arrive as written.
The command line exits with 2 for what the user can mend and with 1 for what the machine did.
"""


class UserError(Exception):
    """Something asked for cannot be done: the message names the value, the valid ones and the remedy (exit code 2)."""


class MachineError(Exception):
    """Something outside the program failed, such as a disk, a download or a device (exit code 1)."""
