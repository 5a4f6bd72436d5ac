"""What a worker is, seen from within. It imports nothing of weight before it can say what goes wrong with that."""

import faulthandler
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path


def work(connection: Connection, printing: Connection, root: Path) -> None:
    """A worker's life: it says that it is up; jobs come in, outcomes go out, until the line is closed."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(printing.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a pipe would be buffered by blocks
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    logging.getLogger("ia2").setLevel(logging.INFO)  # for failure.log
    import torch

    from ia2.flows.sweep.schedule import UP
    from ia2.flows.sweep.work import do
    from ia2.models.loading import ModelCache

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    models = ModelCache()
    connection.send(UP)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(do(root, job, models))
