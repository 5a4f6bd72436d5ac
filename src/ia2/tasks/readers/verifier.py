"""A script, run as a process of its own by `equivalence.py`: pairs of answers in, whether math-verify equates them out.

Each line is JSON: `[gold, ours]` in, `true` or `false` out, after a first line that says it is ready. A pair that takes
more than the seconds of CPU time given as argument ends the process, however busy the machine is. The alarm keeps its
default action, which works in the middle of a power of a power too, where a handler in Python (math-verify's own) waits
until it is computed.
"""

import json
import logging
import os
import signal
import sys

from math_verify import LatexExtractionConfig, parse, verify


def is_equal(gold: str, ours: str) -> bool:
    """True where math-verify takes the LaTeX `ours` for the LaTeX `gold`; False where it understands neither."""
    read = [
        parse(f"${latex}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None) for latex in (gold, ours)
    ]
    return bool(verify(*read, timeout_seconds=None))


def serve(seconds: float) -> None:
    """Answer until the input ends; nothing else reaches the terminal."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print("ready", file=replies)
    for line in sys.stdin:
        gold, ours = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        equal = is_equal(gold, ours)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(equal), file=replies)


if __name__ == "__main__":
    serve(float(sys.argv[1]))
