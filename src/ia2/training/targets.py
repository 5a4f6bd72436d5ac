"""What the teacher produced: its responses, its activations and distributions while it gave them.

Collected once per model, split, T and stop rule, in one pass of batched decoding, and shared by every method, learning
rate and adapter. A kind that is first needed later is added by teacher-forcing the stored responses.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ia2 import store
from ia2.errors import UserError
from ia2.methods import Kind
from ia2.models.decoding_state import StepOutput
from ia2.models.generation import GenerationConfig, generate, teacher_forced
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import Ids, TokenizedExample
from ia2.training.tensor_stream import TensorStreamWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """The teacher's responses to n prompts, and what else was recorded at their M tokens, in the order of prompts.

    Both in the model's dtype: activations [M, L, D]; distributions [M, D], kept as the last hidden states that the
    frozen head makes them from, V / D times smaller than the logits and exact for any top k.
    """

    responses: tuple[Ids, ...]
    activations: Tensor | None = None
    distributions: Tensor | None = None

    @property
    def kinds(self) -> frozenset[Kind]:
        present: dict[Kind, Tensor | None] = {"activations": self.activations, "distributions": self.distributions}
        return frozenset({"tokens", *(kind for kind, value in present.items() if value is not None)})


class _Recording:
    """Keeps what is seen of each prompt, on the disk."""

    def __init__(self, kinds: Collection[Kind], folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.spools = {
            kind: stack.enter_context(TensorStreamWriter(folder)) for kind in sorted(kinds) if kind != "tokens"
        }

    @property
    def activations(self) -> bool:
        return "activations" in self.spools

    def see(self, seen: StepOutput) -> None:
        if not seen.step:  # a batch may be begun again
            self.forget(seen.rows)
        self.keep(seen.rows, seen.activations, seen.hidden_states)

    def forget(self, rows: Sequence[int]) -> None:
        for spool in self.spools.values():
            spool.forget(rows)

    def keep(self, rows: Sequence[int], activations: Tensor | None, hidden: Tensor) -> None:
        """Add to each row what was seen at its next position: activations [L, R, D], hidden states [R, D]."""
        if activations is not None and "activations" in self.spools:
            self.spools["activations"].append(rows, activations.transpose(0, 1))
        if "distributions" in self.spools:
            self.spools["distributions"].append(rows, hidden)

    def targets(self, responses: Sequence[Ids]) -> Targets:
        """Write each kind's file, and return what they hold, memory-mapped."""
        found: dict[str, Tensor] = {}
        for kind, spool in self.spools.items():
            spool.write(_file(self.folder, kind), kind)
            found |= _mapped(self.folder, kind)
        return Targets(tuple(responses), found.get("activations"), found.get("distributions"))


@contextmanager
def _recording(kinds: Collection[Kind], folder: Path | None) -> Iterator[_Recording]:
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory()))
        yield _Recording(kinds, place, stack)


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
    with _recording(kinds, folder) as recording:
        activations = recording.activations
        return recording.targets(
            generate(hooked, prompts, how, recording.see, activations=activations, progress=progress)
        )


def add_kinds(
    hooked: HookedModel, prompts: Sequence[Ids], targets: Targets, kinds: Collection[Kind], folder: Path | None = None
) -> Targets:
    """Targets that hold `kinds` too, by teacher-forcing the stored responses; `folder` as in `collect`."""
    examples = [TokenizedExample(*pair) for pair in zip(prompts, targets.responses, strict=True)]
    with _recording(kinds, folder) as recording:
        for rows, outputs in teacher_forced(hooked, examples, activations=recording.activations):
            positions = [row for row in rows for _ in examples[row].response]
            activations = None if outputs.activations is None else outputs.activations.cpu()  # a copy there may not fit
            recording.keep(positions, activations, outputs.hidden_states)
        more = recording.targets(targets.responses)
    return Targets(
        responses=targets.responses,
        activations=targets.activations if more.activations is None else more.activations,
        distributions=targets.distributions if more.distributions is None else more.distributions,
    )


# On disk: one safetensors file per kind, the manifest last


def save_targets(folder: Path, targets: Targets, provenance: dict[str, object]) -> None:
    """Write a targets folder, or add to it; what stands in it counts once its manifest says so."""
    tensors = {"activations": targets.activations, "distributions": targets.distributions}
    for kind, tensor in tensors.items():
        if tensor is not None and kind not in kinds_on_disk(folder):
            _write(folder, kind, {kind: tensor.contiguous()})
    register(folder, targets, provenance)


def register(folder: Path, targets: Targets, provenance: dict[str, object]) -> None:
    """Let targets count whose kinds are written, beside those that count already."""
    known = kinds_on_disk(folder)
    if "tokens" not in known:
        lengths = torch.tensor([len(response) for response in targets.responses])
        flat = torch.tensor([token for response in targets.responses for token in response])
        _write(folder, "tokens", {"tokens": flat, "lengths": lengths})
    new = [_file(folder, kind).name for kind in sorted(targets.kinds - known)]
    files = (_manifest(folder)["files"] if known else {}) | store.list_files(folder, new)
    kinds = sorted(known | targets.kinds)
    store.write_object(folder / "manifest.json", {**provenance, "kinds": kinds, "files": files})


def _write(folder: Path, kind: str, content: dict[str, Tensor]) -> None:
    with store.atomic_write(_file(folder, kind)) as temporary:
        save_file(content, temporary)


FILES = frozenset({"manifest.json", "tokens.safetensors", "activations.safetensors", "distributions.safetensors"})
"""All that a folder of targets may hold."""


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.safetensors"


def load_targets(folder: Path, kinds: Collection[Kind]) -> Targets | None:
    """The targets in `folder` with those of `kinds` that it has, memory-mapped; None where there are none.

    Raises UserError where the folder's files do not agree with its manifest or with each other.
    """
    manifest = _manifest(folder)
    if not manifest["kinds"]:
        return None
    present = {"tokens", *kinds} & {*manifest["kinds"]}
    names = {_file(folder, kind).name for kind in present}
    store.check_files(folder, {name: file for name, file in manifest["files"].items() if name in names})
    try:
        tokens = _mapped(folder, "tokens")
        responses = tuple(tuple(part.tolist()) for part in tokens["tokens"].split(tokens["lengths"].tolist()))
        more = {kind: _mapped(folder, kind)[kind] for kind in present - {"tokens"}}
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from None
    if any(len(tensor) != len(tokens["tokens"]) for tensor in more.values()):
        raise _damaged(folder, "its files differ in length")
    return Targets(responses, more.get("activations"), more.get("distributions"))


def load_usable(folder: Path, kinds: Collection[Kind]) -> Targets | None:
    """`load_targets` of a folder that is locked: damaged targets are named, and no longer count."""
    try:
        return load_targets(folder, kinds)
    except UserError as error:
        log.warning("%s; they are collected again", error)
        (folder / "manifest.json").unlink()
        return None


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
        raise _damaged(folder, "its manifest lists no kinds")
    return manifest


def _damaged(folder: Path, error: object) -> UserError:
    return UserError(f"{folder}: damaged targets ({error}); delete the folder to have them collected again")


def _mapped(folder: Path, kind: str) -> dict[str, Tensor]:
    with safe_open(_file(folder, kind), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
