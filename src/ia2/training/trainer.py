"""Training of many runs in lockstep: Adam, dev loss, early stopping, and the weights of the lowest dev loss.

A step of a few short rows is mostly overhead, which runs on the same frozen base can share: rows of all active runs are
computed in the same passes, while each run has its own adapter, optimizer, order of examples and stopping. Everything
random comes from a run's seed. Seconds of a pass are shared equally by its runs.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import Loss, Phase
from ia2.models.adapters import SingleAdapter
from ia2.models.hooked_model import HookedModel, select_layers
from ia2.models.stacked_lora import StackedLora
from ia2.prompts.prompt import seeded
from ia2.training.dataset import Batch, DistillationDataset, budget_batches, gather
from ia2.training.losses import act_loss, act_loss_by_layer, spread_remainder, tok_loss, tokl_loss
from ia2.training.recorded_steps import Compute, CudaGraphs

History = dict[str, float | int | str]
DEV_TOKENS = 4096
"""Padded tokens of a batch of dev examples."""


@dataclass
class TrainingRun:
    """A phase of a run: what it trains on, its optimizer, and how far it is.

    `adapter` is the run's number among the adapters that are trained together. A loss of weight 0 is measured on the
    dev examples and not trained. `note` is called with every entry of the history.
    """

    config: TrainConfig
    phase: Phase
    train_dataset: DistillationDataset
    eval_dataset: DistillationDataset
    parameters: Sequence[Tensor]
    adapter: int = 0
    note: Callable[[History], object] = dict

    error: UserError | None = None
    num_steps: int = 0
    final_train_loss: float = math.nan
    seconds: float = 0.0
    # None where there are no dev examples; the losses one by one, unweighted, of the weights that are to be saved
    best_step: int = 0
    best_dev_loss: float | None = None
    final_dev_loss: float | None = None
    dev_losses: Mapping[Loss, float] | None = None
    evaluations_since_best: int = 0
    entry: History = field(default_factory=lambda: {"step": 0, "epoch": 0})
    best_weights: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        config, order = self.config, list(range(len(self.train_dataset)))
        weights = self.phase.weights(config.ce_loss_weight)
        self.losses = tuple(weights)
        self.trained = {loss: weight for loss, weight in weights.items() if weight}
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.lr, fused=self.parameters[0].is_cuda)
        self.steps_per_epoch = -(-len(order) // config.batch_size)
        self.batches: list[list[int]] = []
        draw = seeded("epochs", f"{config.run_idx}/{self.phase.name}")
        for _ in range(config.num_train_epochs):
            draw.shuffle(order)
            starts = range(0, len(order), config.batch_size)
            self.batches += [order[start : start + config.batch_size] for start in starts]

    @property
    def stopped_by(self) -> str | None:
        """The reason to stop; None where another step is due."""
        if self.error is not None:
            return "error"
        if self.evaluations_since_best >= self.config.patience:
            return "patience"
        return "epochs" if self.num_steps == len(self.batches) else None

    def update(self, losses: Mapping[Loss, Tensor]) -> None:
        """Take a step of the optimizer, given the losses of the step's examples and their gradient."""
        config, step = self.config, self.num_steps + 1
        weighted = torch.stack([self.trained[name] * values for name, values in losses.items()]).sum(dim=0)
        loss = float(weighted.mean())
        if not self.check("training", loss, step):
            return
        self.entry = {"step": step, "epoch": -(-step // self.steps_per_epoch), "train_loss": loss}
        if config.gradient_clip_val is not None or config.log_gradient_norms:
            norm = total_norm([one.grad for one in self.parameters if one.grad is not None])
            if config.log_gradient_norms:
                self.entry["gradient_norm"] = norm
            if config.gradient_clip_val is not None:
                clip_grads_with_norm_(self.parameters, config.gradient_clip_val, torch.tensor(norm))
        self.optimizer.step()
        self.num_steps, self.final_train_loss = step, loss
        if config.log_weight_norms:
            self.entry["weight_norm"] = total_norm([one.detach() for one in self.parameters])

    def judge(self, losses: Mapping[Loss, float]) -> None:
        """Take note of an evaluation, and keep a copy of the weights where it is the best."""
        loss = sum(weight * losses[name] for name, weight in self.trained.items())
        if not self.check("dev", loss, self.num_steps):
            return
        self.entry["dev_loss"] = self.final_dev_loss = loss
        improved = self.best_dev_loss is None or loss < self.best_dev_loss
        self.evaluations_since_best = 0 if improved else self.evaluations_since_best + 1
        if improved:
            self.best_step, self.best_dev_loss = self.num_steps, loss
            self.best_weights = [parameter.detach().clone() for parameter in self.parameters]
        if improved or self.config.keep == "last":
            self.dev_losses = losses

    def check(self, which: str, loss: float, step: int) -> bool:
        """False, and the end of the run, where a loss is not a number: the weights are worthless then."""
        if not math.isfinite(loss):
            self.error = UserError(f"lr={self.config.lr}: the {which} loss is {loss} at step {step}; take a lower --lr")
        return self.error is None

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        """Leave in the adapter the weights that are to be saved, and return the phase's result, to be stored.

        Each epoch ends in an evaluation, so the last weights have a dev loss too.
        """
        if self.best_dev_loss is None:
            self.best_step = self.num_steps
        elif self.config.keep == "best" and self.best_step != self.num_steps:
            for parameter, weights in zip(self.parameters, self.best_weights, strict=True):
                parameter.copy_(weights)
        names = ("best_step", "num_steps", "best_dev_loss", "final_dev_loss", "dev_losses", "final_train_loss")
        return {name: getattr(self, name) for name in (*names, "stopped_by")} | {"seconds": round(self.seconds, 3)}


def train_in_lockstep(runs: Sequence[TrainingRun], adapters: StackedLora | SingleAdapter) -> Iterator[TrainingRun]:
    """Train runs in the same passes, and yield each when it has ended: to `finish`, or with its `error`.

    All start from the same frozen base, and match in the same way. The `micro_batch_size` of their config is the number
    of a run's examples in a pass (None: the whole batch of a step), which changes memory and speed only. On a GPU,
    shapes that come again are replayed as CUDA graphs.
    """
    hooked, config = HookedModel(adapters.model), runs[0].config
    assert len({(run.config.layers, run.config.act_norm, run.config.tokl_top_k) for run in runs}) == 1, "match alike"
    compute: Compute = partial(forward_backward, hooked, adapters, config)
    if hooked.on_one_gpu and config.micro_batch_size is None:
        compute = CudaGraphs(compute, hooked.device, [parameter for run in runs for parameter in run.parameters])
    active = list(runs)
    while active:
        measure_dev_losses(active, compute)
        for run in active:
            if run.error is None and len(run.entry) > 2:  # before the first step there may be nothing to note
                run.note({**run.entry, "seconds": round(run.seconds, 3)} if run.num_steps else run.entry)
        yield from (run for run in active if run.stopped_by is not None)
        if active := [run for run in active if run.stopped_by is None]:
            train_step(active, compute, config.micro_batch_size)


def measure_dev_losses(runs: Sequence[TrainingRun], compute: Compute) -> None:
    """Measure the dev losses of runs that are due: before step 1, every `dev_eval_steps` and at an epoch's end.

    Each example weighs the same whatever the batches.
    """
    due = {
        run.adapter: run
        for run in runs
        if (run.num_steps % run.config.dev_eval_steps == 0 or run.num_steps % run.steps_per_epoch == 0)
        and len(run.eval_dataset) > 0
        and run.error is None
    }
    datasets = {adapter: run.eval_dataset for adapter, run in due.items()}
    losses = list(dict.fromkeys(loss for run in due.values() for loss in run.losses))
    with shared_time([*due.values()]):
        parts = budget_batches({adapter: dataset.examples for adapter, dataset in datasets.items()}, DEV_TOKENS)
        for adapter, found in losses_in_parts(datasets, parts, losses, compute).items():
            due[adapter].judge({loss: float(found[loss].mean()) for loss in due[adapter].losses})


def train_step(runs: Sequence[TrainingRun], compute: Compute, micro_batch_size: int | None) -> None:
    """Take the next step of each run: the gradient of the weighted mean loss over its batch, and an optimizer step."""
    with shared_time(runs):
        for run in runs:
            run.optimizer.zero_grad(set_to_none=True)
        indices = {run.adapter: run.batches[run.num_steps] for run in runs}
        longest = max(map(len, indices.values()))
        size = micro_batch_size or longest
        found = losses_in_parts(
            {run.adapter: run.train_dataset for run in runs},
            (
                {run: own[at : at + size] for run, own in indices.items() if at < len(own)}
                for at in range(0, longest, size)
            ),
            list(dict.fromkeys(loss for run in runs for loss in run.trained)),
            compute,
            # These make a run's sum of losses the weighted mean over its examples, whatever parts they come in.
            {run.adapter: {loss: w / len(indices[run.adapter]) for loss, w in run.trained.items()} for run in runs},
        )
        for run in runs:
            run.update({loss: values for loss, values in found[run.adapter].items() if loss in run.trained})


def losses_in_parts(
    datasets: Mapping[int, DistillationDataset],
    parts: Iterable[Mapping[int, Sequence[int]]],
    losses: Collection[Loss],
    compute: Compute,
    weights: Mapping[int, Mapping[Loss, float]] | None = None,
) -> dict[int, dict[Loss, Tensor]]:
    """The losses, one for each example, of each run, computed in parts: some examples of each run at a time.

    With `weights` of each run's losses, gradients are added up too.
    """
    found: dict[int, list[dict[Loss, Tensor]]] = {run: [] for run in datasets}
    for indices in parts:
        batch = gather(datasets, indices, losses, weights)
        split = {loss: values.split([*batch.counts.values()]) for loss, values in compute(batch, losses).items()}
        for place, run in enumerate(batch.counts):
            found[run].append({loss: own[place] for loss, own in split.items()})
    return {run: {loss: torch.cat([part[loss] for part in own]) for loss in own[0]} for run, own in found.items()}


def forward_backward(
    hooked: HookedModel,
    adapters: StackedLora | SingleAdapter,
    config: TrainConfig,
    batch: Batch,
    losses: Collection[Loss],
) -> dict[Loss, Tensor]:
    """The losses [B] of a batch, unweighted and detached.

    With coefficients, the gradient of the sum of all losses times theirs is added to the parameters' `grad`.
    """
    batch = batch.to(hooked.device)
    with torch.set_grad_enabled(batch.coefficients is not None), adapters.rows(batch.counts):
        found = batch_losses(hooked, config, batch, losses)
        if batch.coefficients is not None:
            coefficients = dict(zip(losses, batch.coefficients, strict=True))
            torch.stack([(coefficients[loss] * values).sum() for loss, values in found.items()]).sum().backward()
    return {loss: values.detach() for loss, values in found.items()}


def batch_losses(
    hooked: HookedModel, config: TrainConfig, batch: Batch, losses: Collection[Loss]
) -> dict[Loss, Tensor]:
    """Each loss of the examples, unweighted: [B] each, in float32 and differentiable; one forward pass.

    The config says how the teacher is matched: `layers`, `act_norm` and `tokl_top_k`.
    """
    segments, size = batch.segment_ids, len(batch) + 1  # one for what only fills a shape
    hidden_states, activations = hooked.outputs(
        batch.rows, batch.columns, activations="act" in losses, input_ids=batch.input_ids
    )
    logits = hooked.logits(hidden_states) if {"tok", "tokl"} & {*losses} else None
    found: dict[Loss, Tensor] = {}
    if activations is not None and batch.activations is not None:
        chosen = select_layers(config.layers, len(activations))
        layers = slice(None) if chosen is None else list(chosen)
        loss = act_loss_by_layer if config.act_norm == "layer" else act_loss
        found["act"] = loss(activations[layers], batch.activations[layers], segments, size)
    if logits is not None and "tok" in losses:
        found["tok"] = tok_loss(logits, batch.tokens, segments, size)
    if logits is not None and batch.hidden_states is not None:
        with torch.no_grad():
            teacher = hooked.logits(batch.hidden_states.to(hooked.base.dtype)).log_softmax(dim=-1)
            num_tokens = teacher.shape[-1]
            if config.tokl_top_k != "all" and config.tokl_top_k < num_tokens:
                top = teacher.topk(config.tokl_top_k, dim=-1)
                teacher = spread_remainder(top.values, top.indices, num_tokens)
        found["tokl"] = tokl_loss(logits, teacher, segments, size)
    return {loss: values[:-1] for loss, values in found.items()}


def total_norm(tensors: Sequence[Tensor]) -> float:
    """The norm of all tensors together, in float64: a float32 sum over millions of squares has four digits."""
    return math.hypot(*(float(torch.linalg.vector_norm(one, dtype=torch.float64)) for one in tensors))


@contextmanager
def shared_time(runs: Sequence[TrainingRun]) -> Iterator[None]:
    """Add to the seconds of each run its share of what the context takes."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    for run in runs:
        run.seconds += seconds / len(runs)
