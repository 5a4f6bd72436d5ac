"""The same command started again, as workers: processes of this machine, or tasks of a Ray cluster; and Ctrl-C.

A worker is given a journal, a file to report to, by which its command knows that it is one. Each has the methods
`poll`, `kill` and `wait` of a process.
"""

import importlib
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ia2.config import SweepConfig
from ia2.errors import UserError

JOURNAL, GROUP = "IA2_SWEEP_JOURNAL", "WANDB_RUN_GROUP"
"""In the environment of a worker: its journal, and the group that wandb shows its runs in."""
QUIET = 20.0
"""Seconds without any worker of a cluster before that is reported."""


def start_local(config: SweepConfig, number: int, journal: Path) -> "subprocess.Popen[bytes]":
    """Start one of a number of workers on this machine, with its share of the cores and one of --gpus in turn.

    What it prints is for a log beside its journal, whose name begins with the place of the worker among them.
    """
    gpus = visible(config.gpus)
    command = [sys.executable, "-P", "-m", "ia2.cli", *shlex.split(config.command("sweep", in_full=True))[1:]]
    threads = str(max(1, (os.cpu_count() or 1) // number))
    environment = {**os.environ, JOURNAL: str(journal), "PYTHONUNBUFFERED": "1"}
    environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[int(journal.stem.partition(".")[0]) % len(gpus)]
    # Ctrl-C, which a terminal sends to all of us, is the sweep's to answer: a worker inherits that it is blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with journal.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def visible(gpus: Sequence[int]) -> list[str]:
    """Names in CUDA_VISIBLE_DEVICES of GPUs, which are counted among those that this process sees."""
    number = torch.cuda.device_count() if gpus else 0
    for gpu in gpus:
        if gpu >= number:
            raise UserError(f"--gpus {gpu}: this process sees {number} GPUs, counted from 0")
    names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(number)))).split(",")
    return [names[gpu].strip() for gpu in gpus]


class RayWorker:
    """A worker on some node of a Ray cluster, with the methods of a process."""

    def __init__(self, ray: Any, future: Any, journal: Path) -> None:  # noqa: ANN401 - ray may be absent
        self._ray, self._future, self._journal = ray, future, journal
        self._quiet_at = time.monotonic() + QUIET if journal.stem == "0.0" else math.inf

    def poll(self) -> str | None:
        """The reason why it has ended; None while it has not. The first one reports that none comes up."""
        if time.monotonic() > self._quiet_at and not list(self._journal.parent.glob("[0-9]*.jsonl")):
            free, self._quiet_at = self._ray.available_resources(), math.inf
            resources = f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs"
            print(f"no worker is up after {QUIET:g} s: the cluster has {resources} free", flush=True)
        if not self._ray.wait([self._future], timeout=0)[0]:
            return None
        try:
            self._ray.get(self._future)
        except Exception as error:  # its node was lost, or whatever it raised
            return " ".join(str(error).split())[-300:]
        return "of itself"

    def kill(self) -> None:
        """End it at once."""
        self._ray.cancel(self._future, force=True)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._ray.wait([self._future], timeout=QUIET)


def start_on_ray(
    config: SweepConfig, number: int, run: Callable[[SweepConfig, Path, dict[str, str]], None]
) -> Callable[[Path], RayWorker]:
    """Connect to a cluster, and return the start of one of a number of workers, which `run` for a journal.

    Each asks for one core and, unless --device is cpu, for its share of the GPUs. UserError where Ray is not installed,
    there is no cluster, or it lacks what is requested.
    """
    address = config.ray_address or "auto"
    try:
        ray: Any = importlib.import_module("ray")
        host, colon, port = address.rpartition(":")
        if not ray.is_initialized():
            if colon and "//" not in address:  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=5).close()
            ray.init(address=address, log_to_driver=False)
    except ImportError:
        raise UserError("--ray_address: ray is not installed; pip install 'ia2[ray]'") from None
    except (OSError, ValueError) as error:
        raise UserError(f"--ray_address {address}: {' '.join(str(error).split())}") from error
    num_gpus = gpu_share(config.device, int(ray.cluster_resources().get("GPU", 0)), number)
    task = ray.remote(num_cpus=1, num_gpus=num_gpus, max_retries=0, max_calls=1)(run)
    environment = {"OMP_NUM_THREADS": "1", **({GROUP: os.environ[GROUP]} if GROUP in os.environ else {})}
    return lambda journal: RayWorker(ray, task.remote(config, journal, environment), journal)


def gpu_share(device: str, num_gpus: int, num_workers: int) -> float:
    """Share of a GPU that each worker asks for, so that all have a place and none waits; 0 where there is none to use.

    Ray counts in ten-thousandths. UserError where `device` wants a GPU that the cluster has not, or chooses one.
    """
    if device.startswith("cuda:"):
        raise UserError(f"--device {device}: on a cluster Ray chooses the GPU; give --device cuda")
    if device == "cpu" or (device == "auto" and not num_gpus):
        return 0.0
    if not num_gpus:
        raise UserError(f"--device {device}: no node of the cluster has a GPU; give --device cpu, or auto")
    return math.floor(10_000 / math.ceil(num_workers / num_gpus)) / 10_000


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C is a call of `stop`, which lets what is under way end; the second interrupts."""

    def first(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()
        print("finishing what is under way; Ctrl-C again stops at once", flush=True)

    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
