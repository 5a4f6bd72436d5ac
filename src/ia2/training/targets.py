"""Targets: the responses of a teacher, and its activations and hidden states while it gave them.

Collected once per model, split, T and stop rule, in one pass of batched decoding, and shared by every method, learning
rate and adapter. A kind that is first needed later is added by teacher-forcing the stored responses.
"""

import json
import logging
import os
import struct
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ia2 import store
from ia2.errors import UserError
from ia2.methods import Kind
from ia2.models.generation import GenerationConfig, generate, teacher_forced
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import Ids, TokenizedExample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """The teacher's responses to n prompts, and what else was recorded at their M tokens, in the order of prompts.

    Both in the model's dtype: activations [M, L, D], and the last hidden states [M, D]. The frozen head makes the
    distributions from these, which are V / D times smaller than the logits and exact for any top k.
    """

    responses: tuple[Ids, ...]
    activations: Tensor | None = None
    hidden_states: Tensor | None = None

    @property
    def tensors(self) -> dict[Kind, Tensor]:
        """The recorded tensors by their kinds, as files on the disk are named."""
        found: dict[Kind, Tensor | None] = {"activations": self.activations, "distributions": self.hidden_states}
        return {kind: tensor for kind, tensor in found.items() if tensor is not None}

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset({"tokens", *self.tensors})


# Collecting

Keep = Callable[[Sequence[int], Tensor | None, Tensor, bool], None]


class TensorStreamWriter:
    """Records of one shape, appended to the rows that they belong to and written in the order of rows at the end.

    Memory holds one step of one batch, whatever there is to be collected. The length of a response is only known when
    it has ended, so records go to a nameless file first; when all have come they are copied to a safetensors file,
    which states its size at its beginning. The disk needs room for both meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.file = TemporaryFile(dir=folder)  # noqa: SIM115 - closed by who opens it
        self._places: dict[int, array[int]] = {}
        self._num_records = 0
        self._dtype, self._shape = torch.float32, torch.Size()

    def append(self, rows: Sequence[int], records: Tensor, anew: bool = False) -> None:
        """Add to each row, in turn, one of the records [R, ...]; a row may come several times.

        A batch may be begun again: with `anew` what these rows have is forgotten.
        """
        if anew:
            for row in rows:
                self._places.pop(row, None)
        self._dtype, self._shape = records.dtype, records.shape[1:]
        self.file.write(records.contiguous().cpu().view(torch.uint8).numpy().data)
        for row in rows:
            self._places.setdefault(row, array("q")).append(self._num_records)
            self._num_records += 1

    def write(self, path: Path, name: str) -> None:
        """Write one tensor [M, ...] of that name: the records of the rows in their order, as a safetensors file."""
        size = prod(self._shape) * self._dtype.itemsize
        order = [place for row in sorted(self._places) for place in self._places[row]]
        dtype = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}[self._dtype]
        tensor = {"dtype": dtype, "shape": [len(order), *self._shape], "data_offsets": [0, len(order) * size]}
        header = json.dumps({name: tensor}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        self.file.flush()
        with store.atomic_write(path) as temporary, temporary.open("wb") as stream:
            stream.write(struct.pack("<Q", len(header)) + header)
            for place in order:
                stream.write(os.pread(self.file.fileno(), size, place * size))


@contextmanager
def _recording(kinds: Collection[Kind], folder: Path | None) -> Iterator[tuple[Keep, dict[str, Tensor]]]:
    """Record `kinds`; at the end each has its file in `folder`, and is in the dictionary, memory-mapped.

    Yields the function that adds to each row what was seen at its next position: activations [L, R, D], hidden
    states [R, D].
    """
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory()))
        writers = {kind: TensorStreamWriter(place) for kind in sorted(kinds) if kind != "tokens"}
        for writer in writers.values():
            stack.enter_context(writer.file)

        def keep(rows: Sequence[int], activations: Tensor | None, hidden_states: Tensor, anew: bool) -> None:
            for kind, writer in writers.items():
                if kind == "distributions":
                    writer.append(rows, hidden_states, anew)
                elif activations is not None:
                    writer.append(rows, activations.transpose(0, 1), anew)

        found: dict[str, Tensor] = {}
        yield keep, found
        for kind, writer in writers.items():
            writer.write(place / f"{kind}.safetensors", kind)
            found |= load_file(place / f"{kind}.safetensors")


def collect(  # noqa: PLR0913 - what is generated, what is recorded of it, and who watches
    hooked: HookedModel,
    prompts: Sequence[Ids],
    how: GenerationConfig,
    kinds: Collection[Kind],
    folder: Path | None = None,
    *,
    progress: Callable[[int], object] = lambda _num_rows: None,
) -> Targets:
    """Let the teacher answer `prompts` greedily and record `kinds` in the same pass.

    Memory holds one step of it: the rest is in `folder`, in the files that `register` lets count (None: in files
    that vanish with the targets).
    """
    with _recording(kinds, folder) as (keep, found):
        responses = generate(
            hooked,
            prompts,
            how,
            lambda seen: keep(seen.rows, seen.activations, seen.hidden_states, seen.step == 0),
            activations="activations" in kinds,
            progress=progress,
        )
    return Targets(tuple(responses), found.get("activations"), found.get("distributions"))


def add_kinds(
    hooked: HookedModel, prompts: Sequence[Ids], targets: Targets, kinds: Collection[Kind], folder: Path | None = None
) -> Targets:
    """Targets that hold `kinds` too, by teacher-forcing the stored responses; `folder` as in `collect`."""
    examples = [TokenizedExample(*pair) for pair in zip(prompts, targets.responses, strict=True)]
    with _recording(kinds, folder) as (keep, found):
        for rows, hidden_states, activations in teacher_forced(hooked, examples, activations="activations" in kinds):
            positions = [row for row in rows for _ in examples[row].response]
            seen = None if activations is None else activations.cpu()  # a copy there may not fit
            keep(positions, seen, hidden_states, True)
    kept = found.get("activations", targets.activations)
    return Targets(targets.responses, kept, found.get("distributions", targets.hidden_states))


# On disk: one safetensors file per kind, the manifest last

FILES = frozenset({"manifest.json", "tokens.safetensors", "activations.safetensors", "distributions.safetensors"})
"""All that a folder of targets may hold."""
DAMAGED = "{}: damaged targets ({}); delete the folder to have them collected again"


def load_or_collect(  # noqa: PLR0913 - what targets depend on, and what they are collected with
    folder: Path,
    identity: Mapping[str, Any],
    kinds: Collection[Kind],
    *,
    hooked: HookedModel,
    prompts: Sequence[Ids],
    how: Callable[[], GenerationConfig],
) -> Targets:
    """The targets in `folder` with `kinds`, collected where they are missing.

    The folder is named by a digest of the identity, all that the targets depend on: they are current where they exist.
    Damaged ones are named, and collected again.
    """
    with store.file_lock(folder):
        try:
            targets = load_targets(folder, kinds)
        except UserError as error:
            log.warning("%s; they are collected again", error)
            (folder / "manifest.json").unlink()
            targets = None
        if targets is not None and targets.kinds >= {*kinds}:
            return targets
        seconds = -time.perf_counter()
        if targets is not None:
            seconds += float(_manifest(folder).get("seconds", 0.0))
            targets = add_kinds(hooked, prompts, targets, {*kinds} - targets.kinds, folder)
        else:
            folder.mkdir(exist_ok=True)
            with tqdm(total=len(prompts), desc=folder.parent.name, unit="example", leave=False, disable=None) as bar:
                targets = collect(hooked, prompts, how(), kinds, folder, progress=bar.update)
        register(folder, targets, {**identity, "seconds": round(seconds + time.perf_counter(), 3)})
        return targets


def register(folder: Path, targets: Targets, provenance: Mapping[str, Any]) -> None:
    """Let targets count whose kinds are written, beside those that count already."""
    known = kinds_on_disk(folder)
    if "tokens" not in known:
        lengths = torch.tensor([len(response) for response in targets.responses])
        flat = torch.tensor([token for response in targets.responses for token in response])
        with store.atomic_write(folder / "tokens.safetensors") as temporary:
            save_file({"tokens": flat, "lengths": lengths}, temporary)
    new = [f"{kind}.safetensors" for kind in sorted(targets.kinds - known)]
    files = (_manifest(folder)["files"] if known else {}) | store.list_files(folder, new)
    kinds = sorted(known | targets.kinds)
    store.write_object(folder / "manifest.json", {**provenance, "kinds": kinds, "files": files})


def load_targets(folder: Path, kinds: Collection[Kind]) -> Targets | None:
    """The targets in `folder` with those of `kinds` that it has, memory-mapped; None where there are none.

    Raises UserError where the folder's files do not agree with its manifest or with each other.
    """
    manifest = _manifest(folder)
    if not manifest["kinds"]:
        return None
    present = {"tokens", *kinds} & {*manifest["kinds"]}
    files = [f"{kind}.safetensors" for kind in sorted(present)]
    store.check_files(folder, {name: file for name, file in manifest["files"].items() if name in files})
    try:
        found = {name: tensor for file in files for name, tensor in load_file(folder / file).items()}
        responses = tuple(tuple(part.tolist()) for part in found["tokens"].split(found["lengths"].tolist()))
        more = {kind: found[kind] for kind in present - {"tokens"}}
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(DAMAGED.format(folder, error)) from None
    if any(len(tensor) != len(found["tokens"]) for tensor in more.values()):
        raise UserError(DAMAGED.format(folder, "its files differ in length"))
    return Targets(responses, more.get("activations"), more.get("distributions"))


def kinds_on_disk(folder: Path) -> set[str]:
    """The kinds that count: those of the manifest, unless it is damaged."""
    try:
        return set(_manifest(folder)["kinds"])
    except UserError:
        return set()


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest, and without one that there are no kinds."""
    path = folder / "manifest.json"
    manifest = store.read_object(path, has_digest=True) if path.exists() else {"kinds": []}
    if not isinstance(manifest.get("kinds"), list):
        raise UserError(DAMAGED.format(folder, "its manifest lists no kinds"))
    return manifest
