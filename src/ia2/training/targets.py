"""What the teacher produced: its responses, its activations and distributions while it gave them.

Collected once per model, split, T and stop rule, in one pass of batched decoding, and shared by every method, learning
rate and adapter. A kind that is first needed later is added by teacher-forcing the stored responses.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ia2 import store
from ia2.errors import UserError
from ia2.icl.encoding import Encoded, Ids, budget_batches, collate
from ia2.lm.budget import affordable_tokens
from ia2.lm.decoding import Decoding, decode
from ia2.lm.forward import Reader
from ia2.lm.state import Seen
from ia2.training.variants import Kind


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


@dataclass
class _Recording:
    """Keeps what decoding shows, row by row."""

    kinds: Collection[Kind]
    seen: dict[int, list[Tensor]] = field(default_factory=dict)
    distributions: dict[int, list[Tensor]] = field(default_factory=dict)

    @property
    def activations(self) -> bool:
        return "activations" in self.kinds

    def see(self, seen: Seen) -> None:
        if not seen.step:  # a batch may be begun again
            for row in seen.rows:
                self.seen.pop(row, None)
                self.distributions.pop(row, None)
        self.keep(seen.rows, seen.activations, seen.hidden)

    def keep(self, rows: Sequence[int], activations: Tensor | None, hidden: Tensor) -> None:
        """Add to each row what was seen at its next position: activations [L, R, D], hidden states [R, D]."""
        if activations is not None:
            for row, own in zip(rows, activations.transpose(0, 1).cpu(), strict=True):
                self.seen.setdefault(row, []).append(own)
        if "distributions" in self.kinds:
            for row, own in zip(rows, hidden.cpu(), strict=True):
                self.distributions.setdefault(row, []).append(own)


def collect(reader: Reader, prompts: Sequence[Ids], how: Decoding, kinds: Collection[Kind]) -> Targets:
    """Let the teacher answer `prompts` greedily and record `kinds` in the same pass."""
    recording = _Recording(kinds)
    responses = decode(reader, prompts, how, recording)
    order = range(len(prompts))
    return Targets(
        responses=tuple(responses),
        activations=_joined(recording.seen, order) if "activations" in kinds else None,
        distributions=_joined(recording.distributions, order) if "distributions" in kinds else None,
    )


def _joined(steps: dict[int, list[Tensor]], order: Sequence[int]) -> Tensor:
    return torch.stack([tensor for row in order for tensor in steps[row]])


@torch.no_grad()
def add_kinds(
    reader: Reader, prompts: Sequence[Ids], targets: Targets, kinds: Collection[Kind], token_budget: int | None = None
) -> Targets:
    """Targets that hold `kinds` too, by teacher-forcing the stored responses."""
    examples = [Encoded(*pair) for pair in zip(prompts, targets.responses, strict=True)]
    recording = _Recording(kinds)
    for chosen in budget_batches(examples, token_budget or affordable_tokens(reader.base)):
        batch = collate([examples[index] for index in chosen], reader.device)
        reading = reader.read(batch, activations=recording.activations, logits=False)
        own = None if reading.activations is None else reading.activations.to(reader.base.dtype)
        recording.keep([chosen[row] for row in batch.rows.tolist()], own, reading.hidden)
    order = range(len(prompts))
    return Targets(
        responses=targets.responses,
        activations=_joined(recording.seen, order) if recording.seen else targets.activations,
        distributions=_joined(recording.distributions, order) if recording.distributions else targets.distributions,
    )


# On disk: one safetensors file per kind, the manifest last


def save_targets(folder: Path, targets: Targets, provenance: dict[str, object]) -> None:
    """Write a targets folder, or add to it; what stands in it counts once its manifest says so."""
    known = kinds_on_disk(folder)
    lengths = torch.tensor([len(response) for response in targets.responses])
    flat = torch.tensor([token for response in targets.responses for token in response])
    tensors = {"activations": targets.activations, "distributions": targets.distributions}
    files = {"tokens": {"tokens": flat, "lengths": lengths}}
    files |= {kind: {kind: tensor} for kind, tensor in tensors.items() if tensor is not None}
    for kind, content in files.items():
        if kind not in known:
            with store.writing(folder / f"{kind}.safetensors") as temporary:
                save_file({name: tensor.contiguous() for name, tensor in content.items()}, temporary)
    store.write_json(folder / "manifest.json", {**provenance, "kinds": sorted(known | set(files))})


def load_targets(folder: Path, kinds: Collection[Kind]) -> Targets | None:
    """The targets in `folder` with those of `kinds` that it has, memory-mapped; None where there are none.

    Raises UserError where the folder's files do not agree with its manifest or with each other.
    """
    present = kinds_on_disk(folder)
    if not present:
        return None
    try:
        tokens = _mapped(folder, "tokens")
        responses = tuple(tuple(part.tolist()) for part in tokens["tokens"].split(tokens["lengths"].tolist()))
        more = {kind: _mapped(folder, kind)[kind] for kind in kinds if kind in present and kind != "tokens"}
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from None
    if any(len(tensor) != len(tokens["tokens"]) for tensor in more.values()):
        raise _damaged(folder, "its files differ in length")
    return Targets(responses, more.get("activations"), more.get("distributions"))


def kinds_on_disk(folder: Path) -> set[str]:
    """What the manifest says is there; nothing without one."""
    if not (folder / "manifest.json").exists():
        return set()
    try:
        return set(store.read_json(folder / "manifest.json")["kinds"])
    except (KeyError, TypeError) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: object) -> UserError:
    return UserError(f"{folder}: damaged targets ({error}); delete the folder to have them collected again")


def _mapped(folder: Path, kind: str) -> dict[str, Tensor]:
    with safe_open(folder / f"{kind}.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
