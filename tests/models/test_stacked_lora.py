"""Runs that are stacked against plain PEFT, one run at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import save_adapter, trainable_parameters
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tiny import SHAPES, save_tiny_model, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from ia2.config import ModelConfig, TrainConfig
from ia2.errors import UserError
from ia2.models.adapters import new_adapter, peft_config, saved_adapter
from ia2.models.loading import load_model
from ia2.models.stacked_lora import StackedLora

FUSED = ("llama", "gpt2", "gpt_neox", "phi3")
"""Separate projections, and three ways to fuse them; GPT-2's weights are transposed."""
Kind = tuple[int, int, bool]
KINDS = ((2, 8, False), (5, 4, True), (3, 1, False), (5, 16, False))
"""Rank and alpha of runs, and whether alpha is divided by the rank's root; most scalings have no exact float32."""
ONE: Kind = (4, 6, False)
State = dict[str, Tensor]


def config_of(model: PreTrainedModel, kind: Kind = ONE, letters: str = "qkvo") -> LoraConfig:
    train = TrainConfig(training_method="act", lora_type=letters, lora_r=kind[0], lora_alpha=kind[1])
    config = peft_config(model, train)
    assert isinstance(config, LoraConfig)
    config.use_rslora = kind[2]
    return config


def shaken(state: State, seed: int) -> State:
    """Weights that do something: a new adapter's B is zero."""
    generator = torch.Generator().manual_seed(seed)
    return {name: weight + 0.2 * torch.randn(weight.shape, generator=generator) for name, weight in state.items()}


def stack_of(model: PreTrainedModel, kinds: tuple[Kind, ...] = KINDS) -> StackedLora:
    lora = StackedLora(model, [config_of(model, kind) for kind in kinds], range(len(kinds)))
    for run in range(len(kinds)):
        lora.load(run, shaken(lora.state(run), seed=run))
    return lora


def ids_of(num_rows: int) -> Tensor:
    return torch.randint(3, 300, (num_rows, 9), generator=torch.Generator().manual_seed(num_rows))


def losses_of(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1).square().mean((1, 2))


def together(model: PreTrainedModel, lora: StackedLora, counts: Mapping[int, int], ids: Tensor) -> Tensor:
    """The logits; gradients arrive in the runs' weights."""
    with lora.rows(counts):
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    losses_of(logits).sum().backward()
    return logits.detach()


def gradient(lora: StackedLora, run: int) -> State:
    """By the name of a saved adapter, without padding."""
    state, found = lora.state(run), lora.weights[run].grad
    assert found is not None
    parts = zip(state.items(), lora.split(found), strict=True)
    return {name: part[: weight.shape[0], : weight.shape[1]] for (name, weight), part in parts}


def alone(model: PreTrainedModel, config: LoraConfig, state: State, ids: Tensor) -> tuple[Tensor, State]:
    """The oracle: logits and gradients of plain PEFT."""
    with new_adapter(model, config, seed=0) as adapted:
        set_peft_model_state_dict(adapted, state)
        logits = adapted(input_ids=ids, use_cache=False).logits
        losses_of(logits).sum().backward()
        found = {name.replace(".default", ""): weight.grad for name, weight in trainable_parameters(adapted).items()}
        assert all(part is not None for part in found.values())
        return logits.detach(), found  # type: ignore[return-value]


def assert_near(found: State, expected: State, tolerance: float) -> None:
    """Every tensor, relative to its norm."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensor.norm() > 0, name
        assert (found[name] - tensor).norm() <= tolerance * tensor.norm(), name


def assert_bits(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_one_run_is_pefts_own_bit_for_bit(shape: str, dtype: torch.dtype) -> None:
    model: Any = tiny_model(shape).to(dtype)  # type: ignore[arg-type]
    lora = stack_of(model, (ONE,))
    logits, gradients = alone(model, config_of(model), lora.state(0), ids_of(3))
    assert torch.equal(together(model, lora, {0: 3}, ids_of(3)), logits)
    assert_bits(gradient(lora, 0), gradients)


@pytest.mark.parametrize("counts", [{0: 2, 1: 2, 2: 2, 3: 2}, {0: 1, 1: 3, 2: 3, 3: 2}, {3: 2, 0: 2, 2: 1}], ids=str)
@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        *((shape, torch.float64, 1e-12) for shape in FUSED),
        ("llama", torch.float32, 2e-4),
        ("gpt2", torch.float32, 2e-4),
    ],
    ids=str,
)
def test_runs_together_are_each_alone(shape: str, dtype: torch.dtype, tolerance: float, counts: dict[int, int]) -> None:
    """Whatever their ranks, scalings and numbers of rows, in any order; a run that is absent has no gradient."""
    model: Any = tiny_model(shape).to(dtype)  # type: ignore[arg-type]
    lora, ids = stack_of(model), ids_of(sum(counts.values()))
    logits = together(model, lora, counts, ids).split(list(counts.values()))
    for (run, own), rows in zip(counts.items(), ids.split(list(counts.values())), strict=True):
        expected, gradients = alone(model, config_of(model, KINDS[run]), lora.state(run), rows)
        assert_near({"logits": logits[list(counts).index(run)]}, {"logits": expected}, tolerance)
        assert len(expected) == own
        assert_near(gradient(lora, run), gradients, tolerance)
    assert [lora.weights[run].grad is None for run in range(4)] == [run not in counts for run in range(4)]


def test_under_a_bfloat16_base_runs_are_as_exact_as_with_peft() -> None:
    """These models amplify the rounding of 8 bits a lot, so float64 is the measure of both."""
    model: Any = tiny_model("llama").to(torch.bfloat16)  # type: ignore[arg-type]
    exact: Any = tiny_model("llama").to(torch.bfloat16).double()  # type: ignore[arg-type]
    lora, ids = stack_of(model), ids_of(8)
    logits = together(model, lora, dict.fromkeys(range(4), 2), ids)
    assert logits.dtype == torch.bfloat16
    ours, pefts = Counter[str](), Counter[str]()
    for run, (rows, own) in enumerate(zip(ids.split(2), logits.split(2), strict=True)):
        assert lora.weights[run].dtype == torch.float32
        truth, found = (alone(one, config_of(model, KINDS[run]), lora.state(run), rows) for one in (exact, model))
        for total, (seen, gradients) in ((ours, (own, gradient(lora, run))), (pefts, found)):
            total["logits"] += float((seen - truth[0]).norm())
            total["gradients"] += sum(float((gradients[name] - part).norm()) for name, part in truth[1].items())
    for kind, distance in pefts.items():
        assert 0 < ours[kind] < 2 * distance


# Training


LRS = (1e-2, 3e-3, 2e-2, 1e-3)


def padding(lora: StackedLora, run: int) -> Iterator[Tensor]:
    """What of a run's padded weights is beyond its rank."""
    for (name, weight), part in zip(lora.state(run).items(), lora.split(lora.weights[run].detach()), strict=True):
        yield part[weight.shape[0] :] if "lora_A" in name else part[:, weight.shape[1] :]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str)
def test_training_is_that_of_each_alone(dtype: torch.dtype, tolerance: float) -> None:
    """Each at its own rate and for its own number of steps; who has finished is not moved any more.

    Adam divides by the gradient's size, which makes of rounding in a small gradient as much in a weight's move.
    """
    model: Any = tiny_model("gpt_neox").to(dtype)  # type: ignore[arg-type]
    lora, num_steps = stack_of(model), {0: 5, 1: 3, 2: 5, 3: 4}
    starts = [lora.state(run) for run in range(4)]
    optimizers = [torch.optim.Adam([weights], lr=lr) for weights, lr in zip(lora.weights, LRS, strict=True)]
    for step in range(5):
        active = [run for run, last in num_steps.items() if step < last]
        for optimizer in optimizers:
            optimizer.zero_grad()
        together(model, lora, dict.fromkeys(active, 2), ids_of(2).repeat(len(active), 1))
        for run in active:
            optimizers[run].step()
        assert all(not part.any() for run in range(4) for part in padding(lora, run))
    assert sum(part.numel() for part in padding(lora, 0)) > 0
    for run, start in enumerate(starts):
        with new_adapter(model, config_of(model, KINDS[run]), seed=0) as adapted:
            set_peft_model_state_dict(adapted, start)
            optimizer = torch.optim.Adam(trainable_parameters(adapted).values(), lr=LRS[run])
            for _ in range(num_steps[run]):
                optimizer.zero_grad()
                losses_of(adapted(input_ids=ids_of(2), use_cache=False).logits).sum().backward()
                optimizer.step()
            expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
            moves = {name: weight.detach() - start[name] for name, weight in expected.items()}
        assert_near({name: weight - start[name] for name, weight in lora.state(run).items()}, moves, tolerance)


def test_one_run_moves_as_with_peft_bit_for_bit() -> None:
    """Over a vector Adam does what it does over the tensors that the vector is made of."""
    model = tiny_model("llama")
    lora = StackedLora(model, [config_of(model)], [7])
    optimizer = torch.optim.Adam(lora.weights, lr=1e-2)
    with new_adapter(model, config_of(model), seed=7) as adapted:
        oracle = torch.optim.Adam(trainable_parameters(adapted).values(), lr=1e-2)
        for _ in range(4):
            oracle.zero_grad()
            losses_of(adapted(input_ids=ids_of(3), use_cache=False).logits).sum().backward()
            oracle.step()
        expected = {name: weight.clone() for name, weight in get_peft_model_state_dict(adapted).items()}
    for _ in range(4):
        optimizer.zero_grad()
        together(model, lora, {0: 3}, ids_of(3))
        optimizer.step()
    assert_bits(lora.state(0), expected)


def test_a_snapshot_of_one_run_comes_back_and_leaves_the_others() -> None:
    model = tiny_model("llama")
    lora = stack_of(model)
    states, kept = [lora.state(run) for run in range(4)], lora.weights[2].detach().clone()
    optimizers = [torch.optim.Adam([weights], lr=0.1) for weights in lora.weights]
    together(model, lora, dict.fromkeys(range(4), 1), ids_of(4))
    for optimizer in optimizers:
        optimizer.step()
    moved = [lora.state(run) for run in range(4)]
    with torch.no_grad():
        lora.weights[2].copy_(kept)
    lora.load(3, states[3])
    for run, expected in enumerate((moved[0], moved[1], states[2], states[3])):
        assert_bits(lora.state(run), expected)
    assert not any(torch.equal(moved[2][name], weight) for name, weight in states[2].items())


# The base model


def look_of(model: PreTrainedModel) -> dict[str, object]:
    """Every module's class, mode, hooks and attributes, and every parameter's trainability."""
    modules = {
        name: (type(module), module.training, len(module._forward_hooks), sorted(vars(module)))
        for name, module in model.named_modules()
    }
    return {**modules, **{name: weight.requires_grad for name, weight in model.named_parameters()}}


@torch.no_grad()
def logits_of(model: PreTrainedModel | PeftModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("shape", FUSED)
def test_the_base_model_is_bit_equal_afterwards(shape: str, fails: bool) -> None:
    model, ids = tiny_model(shape), ids_of(4)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    look, logits = look_of(model), logits_of(model, ids)
    lora = stack_of(model)
    try:
        with lora.rows(dict.fromkeys(range(4), 1)):
            assert not torch.equal(logits_of(model, ids), logits)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert_bits(dict(model.state_dict()), weights)
    assert look_of(model) == look
    assert torch.equal(logits_of(model, ids), logits)


def test_a_batch_of_other_rows_is_refused_and_leaves_the_base_bare() -> None:
    model = tiny_model("llama")
    lora, look = stack_of(model), look_of(model)
    with pytest.raises(AssertionError, match="5 rows in the batch, 4 in the context"), lora.rows({0: 2, 1: 2}):
        logits_of(model, ids_of(5))
    assert look_of(model) == look


class Operations(TorchDispatchMode):
    """Counts what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        self.count[str(function)] += 1
        return function(*args, **kwargs or {})


def test_nothing_waits_for_the_device() -> None:
    """A CUDA graph can be recorded of what reads no number from the device and copies none there."""
    model, ids = tiny_model("llama"), ids_of(7)
    lora = stack_of(model)
    with Operations() as bare:
        logits_of(model, ids)
    with Operations() as adapted:
        together(model, lora, {0: 2, 1: 2, 2: 3}, ids)
    added = adapted.count - bare.count
    assert added["aten.bmm.default"] > 0
    waiting = ("_local_scalar_dense", "nonzero", "lift_fresh", "unique", "index", "scalar_tensor")
    assert not [name for name in added if name.split(".")[1] in waiting]


@pytest.mark.parametrize("limit", ["cpu=130KB", "cpu=0KB"])
def test_a_base_on_the_disk_computes_and_learns_the_same(limit: str, tmp_path: Path) -> None:
    """Some of it, or all."""
    folder = save_tiny_model(tmp_path / "model")
    spread = load_model(ModelConfig(model_id=str(folder), device_map="sequential", max_memory=(limit,))).model
    assert any(weight.is_meta for weight in spread.parameters())
    seen = []
    for model in (spread, tiny_model("llama")):
        lora = stack_of(model)
        logits = together(model, lora, {0: 2, 1: 1}, ids_of(3))
        seen.append({"logits": logits, **gradient(lora, 1)})
    assert_near(*seen, 2e-4)


# Where runs start and how they are saved


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_new_weights_are_those_that_peft_draws(shape: str, dtype: torch.dtype) -> None:
    """For each seed and rank, in whatever company, and without a draw from the global generator."""
    model: Any = tiny_model(shape).to(dtype)  # type: ignore[arg-type]
    configs, state = [config_of(model, (rank, 8, False)) for rank in (4, 2, 7)], torch.get_rng_state()
    lora = StackedLora(model, configs, [3, 1, 2])
    assert torch.equal(torch.get_rng_state(), state)
    for run, seed in enumerate((3, 1, 2)):
        with new_adapter(model, configs[run], seed) as adapted:
            assert_bits(lora.state(run), get_peft_model_state_dict(adapted, save_embedding_layers=False))
            wanted = sum(weight.numel() for weight in trainable_parameters(adapted).values())
        assert sum(weight.numel() for weight in lora.state(run).values()) == wanted


@pytest.mark.parametrize("shape", FUSED)
def test_a_run_is_saved_as_plain_peft(shape: str, tmp_path: Path) -> None:
    """Byte for byte what PEFT writes of a model that holds this run alone."""
    model, ids = tiny_model(shape), ids_of(2)
    lora = stack_of(model)
    for run, kind in enumerate(KINDS):
        ours, theirs = tmp_path / f"ours{run}", tmp_path / f"theirs{run}"
        lora.save(run, ours, "org/base")
        with new_adapter(model, config_of(model, kind), seed=0) as adapted:
            set_peft_model_state_dict(adapted, lora.state(run))
            save_adapter(adapted, theirs, "org/base")
            logits = logits_of(adapted, ids)
        assert sorted(file.name for file in ours.iterdir()) == sorted(file.name for file in theirs.iterdir())
        for file in theirs.iterdir():
            assert (ours / file.name).read_bytes() == file.read_bytes()
        with saved_adapter(model, ours) as loaded:
            assert torch.equal(logits_of(loaded, ids), logits)
        plain = PeftModel.from_pretrained(tiny_model(shape), str(ours)).eval()
        assert torch.equal(logits_of(plain, ids), logits)
    assert lora.configs == [config_of(model, kind) for kind in KINDS], "which saving does not change"


def test_a_run_starts_from_the_weights_of_a_folder(tmp_path: Path) -> None:
    model = tiny_model("llama")
    lora = stack_of(model)
    for run in (1, 2):
        lora.save(run, tmp_path / str(run), "base")
    starts = [tmp_path / "2", 5, tmp_path / "1"]
    again = StackedLora(model, [config_of(model, KINDS[run]) for run in (2, 0, 1)], starts)
    assert_bits(again.state(0), lora.state(2))
    assert_bits(again.state(2), lora.state(1))
    with new_adapter(model, config_of(model, KINDS[0]), seed=5) as adapted:
        assert_bits(again.state(1), get_peft_model_state_dict(adapted))


@pytest.mark.parametrize("broken", ["no folder", "another model", "another rank", "a layer too few", "not a number"])
def test_a_folder_that_does_not_fit_is_refused(broken: str, tmp_path: Path) -> None:
    model, folder = tiny_model("llama"), tmp_path / "run"
    look = look_of(model)
    if broken != "no folder":
        other = tiny_model("phi3") if broken == "another model" else model
        stack_of(other, ((3, 6, False) if broken == "another rank" else ONE,)).save(0, folder, "base")
        weights = load_file(folder / "adapter_model.safetensors")
        if broken == "a layer too few":
            weights = {name: weight for name, weight in weights.items() if ".1." not in name}
        if broken == "not a number":
            weights[min(weights)][0, 0] = torch.nan
        save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match="no adapter that loads on this llama model") as told:
        StackedLora(model, [config_of(model)], [folder])
    assert str(told.value).startswith(f"{folder}: ")
    assert look_of(model) == look


def test_weights_of_other_shapes_are_refused_and_change_nothing() -> None:
    model = tiny_model("llama")
    lora = stack_of(model)
    kept = lora.state(1)
    for wrong in (lora.state(0), dict(list(kept.items())[1:])):
        with pytest.raises(ValueError, match="not those of this model, for instance"):
            lora.load(1, {name: torch.zeros_like(weight) for name, weight in wrong.items()})
    assert_bits(lora.state(1), kept)


def test_stacked_runs_adapt_the_same_modules() -> None:
    model = tiny_model("llama")
    with pytest.raises(AssertionError, match="the same modules"):
        StackedLora(model, [config_of(model), config_of(model, letters="qv")], [0, 1])


def test_modules_that_the_model_does_not_have_are_refused() -> None:
    with pytest.raises(AssertionError, match="no module of the model is among"):
        StackedLora(tiny_model("llama"), [config_of(tiny_model("gpt2"))], [0])
