"""LoRA adapters of R runs on one frozen base model, as one dimension of a tensor.

The weights of a run are one vector [P]: A [r, in] and B [out, r] of each adapted module in turn, padded with zeros to
the largest rank r of the stack. For a forward pass the vectors of the runs that take part are stacked. A module then
adds to its output, for rows sorted by run, the batched product x [R, rows, in] @ A [R, in, r] @ B [R, r, out], scaled.

So gradients arrive by run, and each run has an optimizer of its own, as if it were alone. The padding stays zero
without a mask: the gradient of A's padding is a product with B's padding, that of B's is one with A's, and Adam leaves
a zero whose gradient always was zero. Products are in float32 whatever the base is in; those of one run are PEFT's own.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from ia2.config import LARGEST
from ia2.models.adapters import SingleAdapter, adapter_errors, new_adapter, read_adapter, saved_adapter
from ia2.models.hooked_model import device_of

Segment = tuple[int, Tensor, Tensor, Tensor]
"""Runs with equally many rows each: the number of their rows, A [R, r, in], B [R, out, r] and scaling [R, 1, 1]."""


class StackedLora:
    """LoRA adapters of R runs; `weights[run]` [P] is the leaf tensor that the run's optimizer moves.

    `num_parameters[run]` is the number of its weights without padding.
    """

    def __init__(self, model: PreTrainedModel, configs: Sequence[LoraConfig], starts: Sequence[int | Path]) -> None:
        """Create an adapter for each config, from a seed (the weights that PEFT draws) or a trained run's folder.

        Raises UserError for a folder that holds no adapter of that config on this model.
        """
        assert all(config.target_modules == configs[0].target_modules for config in configs), "the same modules"
        self.model = model
        self.configs = configs
        self._modules = {
            f"base_model.model.{name}": module
            for name, module in model.named_modules()
            if check_target_module_exists(configs[0], name)
        }
        assert self._modules, f"no module of the model is among {configs[0].target_modules}"
        self._padded = self._shapes(max(config.r for config in configs))
        size, device = sum(map(math.prod, self._padded.values())), device_of(model.get_input_embeddings())
        dtype = torch.promote_types(model.dtype, torch.float32)
        if size > LARGEST:
            raise MemoryError(f"an adapter of {size} weights")  # which torch would call a TypeError
        self.weights = [torch.zeros(size, dtype=dtype, device=device, requires_grad=True) for _ in configs]
        self.parameters = [[weights] for weights in self.weights]
        self.num_parameters = [sum(map(math.prod, self._shapes(config.r).values())) for config in configs]
        factors = [config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r) for config in configs]
        self._scaling = torch.tensor(factors, dtype=dtype, device=device)
        for run, (config, start) in enumerate(zip(configs, starts, strict=True)):
            if isinstance(start, Path):
                with adapter_errors(start, model):
                    self.load(run, read_adapter(start)[1])
            else:
                self.load(run, self._drawn(config.r, start))

    def _shapes(self, rank: int) -> dict[str, tuple[int, int]]:
        """Shapes of A and B of each module in turn, under the names of a saved adapter."""
        shapes = {}
        for name, module in self._modules.items():
            size = module.weight.shape if isinstance(module, nn.Linear) else module.weight.shape[::-1]  # Conv1D
            shapes[f"{name}.lora_A.weight"] = (rank, size[1])
            shapes[f"{name}.lora_B.weight"] = (size[0], rank)
        return shapes

    def _drawn(self, rank: int, seed: int) -> dict[str, Tensor]:
        """Initial weights as PEFT draws them, module by module, and rounds them to the base's dtype."""
        generator, shapes, drawn = torch.Generator().manual_seed(seed), self._shapes(rank), {}
        for module, name_a, name_b in zip(self._modules.values(), [*shapes][::2], [*shapes][1::2], strict=True):
            # PEFT makes two linear layers, whose weights torch draws; then it draws A again, and B becomes zero.
            for name in (name_a, name_b, name_a):
                weight = nn.init.kaiming_uniform_(torch.empty(shapes[name]), a=math.sqrt(5), generator=generator)
                drawn[name] = weight.to(module.weight.dtype)
            drawn[name_b].zero_()
        return drawn

    def split(self, vectors: Tensor) -> list[Tensor]:
        """Views A [..., r, in] and B [..., out, r] of each module in turn, of weights or gradients [..., P]."""
        parts = vectors.split([math.prod(shape) for shape in self._padded.values()], dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._padded.values(), strict=True)]

    def state(self, run: int) -> dict[str, Tensor]:
        """A copy of a run's weights, without padding, under the names of a saved adapter."""
        padded, shapes = self.split(self.weights[run].detach()), self._shapes(self.configs[run].r).items()
        return {
            name: weight[:height, :width].clone(memory_format=torch.contiguous_format)
            for weight, (name, (height, width)) in zip(padded, shapes, strict=True)
        }

    def load(self, run: int, state: Mapping[str, Tensor]) -> None:
        """Give a run the weights that `state` returned; ValueError where names or shapes are others."""
        shapes = self._shapes(self.configs[run].r).items()
        has, wanted = (
            {(name, *weight.shape) for name, weight in state.items()},
            {(name, *size) for name, size in shapes},
        )
        if has != wanted:
            raise ValueError(f"its weights are not those of this model, for instance {min(has ^ wanted)}")
        for weight, (name, (height, width)) in zip(self.split(self.weights[run].detach()), shapes, strict=True):
            weight[:height, :width] = state[name]

    def save(self, run: int, folder: Path, model_id: str) -> None:
        """Write a run as a plain PEFT folder: adapter_config.json and adapter_model.safetensors."""
        config = copy.copy(self.configs[run])
        config.base_model_name_or_path, config.inference_mode = model_id, True
        config.save_pretrained(str(folder))
        save_file(self.state(run), folder / "adapter_model.safetensors", metadata={"format": "pt"})

    @contextmanager
    def rows(self, counts: Mapping[int, int]) -> Iterator[None]:
        """Let the model compute a batch with `counts[run]` rows of each run, one run after the other in that order.

        Weights are those at the start of the context, which therefore holds one step. Runs that are not named take no
        part and get no gradient. Outside, and after an error inside, the model is the bare base.
        """
        stacked = []
        for count, group in groupby(counts, key=counts.__getitem__):
            runs = list(group)
            scaling = torch.stack([self._scaling[run] for run in runs]).view(-1, 1, 1)
            weights = self.split(torch.stack([self.weights[run] for run in runs]))
            stacked.append((count * len(runs), weights[::2], weights[1::2], scaling))
        with ExitStack() as hooks:
            for index, module in enumerate(self._modules.values()):
                segments = [(size, a[index], b[index], scaling) for size, a, b, scaling in stacked]
                hooks.callback(module.register_forward_hook(partial(_add_products, segments)).remove)
            yield


def _add_products(segments: Sequence[Segment], _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output of a module plus the products of its adapters, in the output's dtype."""
    sizes = [size for size, *_ in segments]
    assert len(output) == sum(sizes), f"{len(output)} rows in the batch, {sum(sizes)} in the context"
    parts = inputs[0].split(sizes) if len(segments) > 1 else [inputs[0]]
    products = []
    for part, (_size, *weights) in zip(parts, segments, strict=True):
        # A model that is spread over devices computes each module on its own.
        a, b, scaling = (weight.to(output.device) for weight in weights)
        x = part.to(a)
        if len(a) == 1:  # PEFT's operations: the batched ones may round otherwise
            products.append(linear(linear(x, a[0]), b[0]) * scaling[0])
        else:
            product = x.reshape(len(a), -1, x.shape[-1]) @ a.mT @ b.mT * scaling
            products.append(product.view(output[: len(x)].shape))
    return (output + (torch.cat(products) if len(segments) > 1 else products[0])).to(output.dtype)


@contextmanager
def trainable_adapters(
    model: PreTrainedModel, configs: Sequence[PeftConfig], starts: Sequence[int | Path]
) -> Iterator[StackedLora | SingleAdapter]:
    """Adapters of these configs to be trained, from a seed or a trained run's folder; several are LoRA adapters."""
    lora = [config for config in configs if isinstance(config, LoraConfig)]
    if lora:
        yield StackedLora(model, lora, starts)
        return
    (config,), (start,) = configs, starts
    if isinstance(start, int):
        context = new_adapter(model, config, start)
    else:
        context = saved_adapter(model, start, trainable=True)
    with context as adapted:
        yield SingleAdapter(adapted)
