"""Hostile flags, files, model folders and stores, and commands that are killed: seeded, each in a box of its own.

    python tests/fuzz/fuzz.py                                  # 620 inputs and 200 kills, half an hour
    python tests/fuzz/fuzz.py --inputs 40 --kills 8 --seed 3
    python tests/fuzz/fuzz.py --seed 3 --only stores-17        # one of them again, its box kept

No input ends a command with a traceback, in a hang, or in more than one short line; nothing is written outside the
root; nothing half-made counts; no number that a damaged file changed is shown as a right one.
"""

import argparse
import gc
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "120"}

if TYPE_CHECKING:
    from inputs import Materials

SHARES = {"flags": 0.4, "files": 0.2, "models": 0.15, "stores": 0.25}


def prepared(folder: Path) -> "Materials":
    """The materials, made while everything heavy is imported; no command of this process has a network."""
    os.environ |= {"IA2_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "HF_HOME": str(folder / "cache")}
    os.environ |= {"MPLCONFIGDIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HOME": str(folder / "cache")}
    for name in ("cache", "tmp"):
        (folder / name).mkdir()
    tempfile.tempdir = str(folder / "tmp")
    for name in ("IA2_ROOT", "IA2_MODEL_ID"):
        os.environ.pop(name, None)
    socket.getaddrinfo = unresolved
    import boxes
    import torch
    from inputs import Materials
    from tiny import save_tiny_model

    torch.set_num_threads(1)
    materials = Materials(folder)
    materials.write_files()
    save_tiny_model(materials.model)
    import_all()
    materials.make(boxes.Box(folder / "first"))
    shutil.rmtree(folder / "first")
    gc.collect()
    gc.freeze()
    return materials


def unresolved(*_arguments: object, **_named: object) -> list[object]:
    raise socket.gaierror(socket.EAI_NONAME, "there is no network here")


def import_all() -> None:
    """What commands import when they are run, so that none has to."""
    import importlib
    import pkgutil

    import ia2

    for module in pkgutil.walk_packages(ia2.__path__, "ia2."):
        if "on_ray" not in module.name:
            importlib.import_module(module.name)
    for name in ("transformers.models.llama.modeling_llama", "matplotlib.backends.backend_agg", "matplotlib.pyplot"):
        importlib.import_module(name)


def names_of(num_inputs: int, num_kills: int) -> list[str]:
    """Every input's name, kinds mixed, so that a part of them is of every kind."""
    counts = {kind: round(num_inputs * share) for kind, share in SHARES.items()} | {"kills": num_kills}
    places = [(place / count, kind, place) for kind, count in counts.items() for place in range(count)]
    return [f"{kind}-{place}" for _, kind, place in sorted(places)]


def try_one(name: str, seed: int, materials: "Materials", keep: bool = False) -> list[str]:
    """The faults of one input."""
    from boxes import Box
    from inputs import KINDS
    from kills import kills

    folder = materials.folder / "boxes" / name
    kind = name.split("-", maxsplit=1)[0]
    try:
        return (kills if kind == "kills" else KINDS[kind])(Random(f"{seed} {name}"), Box(folder), materials)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def try_all(names: list[str], seed: int, materials: "Materials", jobs: int, log: Path) -> None:
    """Every input, in `jobs` processes of which each takes its turn; a line of the log for each that has ended."""
    children = []
    for job in range(jobs):
        child = os.fork()
        if child == 0:
            try:
                for name in names[job::jobs]:
                    began = time.monotonic()
                    found = try_one(name, seed, materials)
                    line = {"name": name, "faults": found, "seconds": round(time.monotonic() - began, 2)}
                    with log.open("a") as stream:
                        stream.write(json.dumps(line) + "\n")
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise SystemExit(f"the harness itself failed in {sum(map(bool, codes))} processes")


def summary(log: Path, seed: int) -> tuple[str, int]:
    """What was tried and what failed, with the command that tries it again; and how many failed."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    tried, failed = (
        Counter(one["name"].split("-")[0] for one in some) for some in (lines, [o for o in lines if o["faults"]])
    )
    text = [f"{kind}: {tried[kind]} tried, {failed[kind]} failed" for kind in sorted(tried)]
    for one in lines:
        if one["faults"]:
            text.append(f"\npython tests/fuzz/fuzz.py --seed {seed} --only {one['name']}")
            text += [f"  {fault}" for fault in one["faults"]]
    return "\n".join(text) + "\n", failed.total()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=620)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="names of inputs, or kinds")
    parser.add_argument("--faulty", action="store_true", help="add inputs of which every one has to fail")
    parser.add_argument("--log", type=Path, help="where a line of JSON is written for each input (default: nowhere)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        materials = prepared(Path(temporary))
        from inputs import NUM_FAULTY

        names = names_of(given.inputs, given.kills)
        if given.only:
            names = [name for name in names if name.split("-")[0] in given.only] + [n for n in given.only if "-" in n]
        if given.faulty:
            names += [f"faulty-{place}" for place in range(NUM_FAULTY)]
        log = given.log or Path(temporary) / "log"
        log.unlink(missing_ok=True)
        try_all(names, given.seed, materials, given.jobs, log)
        text, num_failed = summary(log, given.seed)
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(1 if num_failed else 0)  # an interpreter with torch takes seconds to end


if __name__ == "__main__":
    sys.exit(main())
