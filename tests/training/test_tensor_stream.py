"""What comes row by row and step by step lies on the disk in the order of the rows, and memory holds little of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from made_up_ids import made_up_ids
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.training.targets import TensorStreamWriter, collect


@contextmanager
def writing(folder: Path) -> Iterator[TensorStreamWriter]:
    writer = TensorStreamWriter(folder)
    with writer.file:
        yield writer


def written(writer: TensorStreamWriter, folder: Path) -> Tensor:
    writer.write(folder / "found.safetensors", "found")
    return load_file(folder / "found.safetensors")["found"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_records_stand_in_the_order_of_the_rows_and_of_their_steps(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    with writing(tmp_path) as writer:
        writer.append([4, 0, 2], values[:3])  # a batch of three rows, two of which go on
        writer.append([4, 2], values[3:5])
        writer.append([1], values[5:])
        found = written(writer, tmp_path)
    assert found.dtype == dtype
    assert torch.equal(found, values[[1, 5, 2, 4, 0, 3]])


def test_what_is_not_contiguous_is_written_as_it_is_seen(tmp_path: Path) -> None:
    values = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    with writing(tmp_path) as writer:
        writer.append([0, 1, 1, 2], values)
        assert torch.equal(written(writer, tmp_path), values)


def test_what_is_forgotten_does_not_count(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.append([0, 1], torch.tensor([[1.0], [2.0]]))
        writer.append([0, 1], torch.tensor([[3.0], [4.0]]))
        writer.append([1, 7, 1], torch.tensor([[5.0], [6.0], [7.0]]), anew=True)
        assert written(writer, tmp_path).tolist() == [[1.0], [3.0], [5.0], [7.0], [6.0]]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_the_tensor_begins_where_any_reader_of_safetensors_expects_it(tmp_path: Path, width: int) -> None:
    with writing(tmp_path) as writer:
        writer.append([0], torch.ones(1, width))
        written(writer, tmp_path)
    content = (tmp_path / "found.safetensors").read_bytes()
    assert (len(content) - 4 * width) % 8 == 0
    with safe_open(tmp_path / "found.safetensors", framework="np") as file:
        assert file.get_tensor("found").tolist() == [[1.0] * width]


def test_nothing_is_left_beside_the_file_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(tmp_path) as writer:
        writer.append([0], torch.ones(1, 2))
        assert list(tmp_path.iterdir()) == []
        monkeypatch.setattr(os, "pread", _full)
        with pytest.raises(OSError, match="full"):
            written(writer, tmp_path)
        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []
        written(writer, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["found.safetensors"]


def _full(*_: object) -> bytes:
    raise OSError(28, "the disk is full")


# Memory

LAYERS, WIDTH, NUM_TOKENS = 8, 256, 8


@pytest.fixture(scope="module")
def wide() -> PreTrainedModel:
    """A model whose activations are 8 KB a token."""
    config = LlamaConfig(
        vocab_size=328,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().requires_grad_(False)


class Gauge:
    """The greatest memory in use, looked at whenever something is recorded or written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        append, pread = TensorStreamWriter.append, os.pread

        def appending(writer: TensorStreamWriter, rows: list[int], records: Tensor, anew: bool) -> None:
            append(writer, rows, records, anew)
            self.look()

        def reading_back(*arguments: int) -> bytes:
            self.look()
            return pread(*arguments)

        monkeypatch.setattr(TensorStreamWriter, "append", appending)
        monkeypatch.setattr(os, "pread", reading_back)

    def look(self) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.most = max(self.most, pages * os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says what memory is in use")
def test_twenty_times_more_examples_take_no_more_memory(
    wide: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge, peaks, sizes = Gauge(monkeypatch), [], []
    for num_examples in (40, 800):
        prompts = made_up_ids("many", *[5] * num_examples)
        gauge.most = 0
        teacher = HookedModel(wide)
        how = GenerationConfig(NUM_TOKENS, None, token_budget=200)
        found = collect(teacher, prompts, how, {"activations", "distributions"}, tmp_path)
        assert found.activations is not None
        peaks.append(gauge.most)
        sizes.append(found.activations.nbytes)
    assert sizes == [4 * NUM_TOKENS * LAYERS * WIDTH * num_examples for num_examples in (40, 800)]
    assert sizes[1] > 50e6
    assert peaks[1] - peaks[0] < 20e6
