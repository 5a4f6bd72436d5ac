"""Training in the low-data regime: which labels enter, and that demonstrations which rows share are read once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from school import School, history
from tiny_runs import write_dataset
from torch import Tensor

from ia2 import store
from ia2.commands.train import resolve
from ia2.methods import ACT, TOK
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import DecodingState, StepOutput
from ia2.prompts.prompt import Ids
from ia2.prompts.splits import LowDataSplitSpec, draw_low_data_split
from ia2.tasks.task_spec import Example
from ia2.training.run_inputs import RunInputs, read_run_inputs
from ia2.training.targets import collect
from ia2.training.trained_run import read_trained_run

N, M, K = 3, 5, 4
REGIME: dict[str, Any] = {
    "ldr_mode": True,
    "num_labelled_samples": N,
    "num_unlabelled_samples": M,
    "max_permutations": K,
    "num_dev_examples": 2,
    "num_train_epochs": 2,
}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    school = School.of(tmp_path_factory.mktemp("low-data"), "llama")
    write_dataset(school.root, "towns", [f"town {i}" for i in range(40)])
    return school


def material_of(school: School, method: str, **changes: Any) -> RunInputs:
    config = resolve(school.config(method, **REGIME, **changes))
    return read_run_inputs(school.root, config, school.models)


@pytest.mark.parametrize(
    ("method", "label_type"),
    [
        *((method, "icl_outputs") for method in ("tok", "act", "tokl", "tna", "a2t", "t2a", "prefix-a2t")),
        *((method, "ground_truth") for method in ("tok", "act", "a2t", "t2a", "prefix-a2t")),
    ],
)
def test_every_variant_trains(school: School, method: str, label_type: str) -> None:
    folder = school.train(method, **REGIME, label_type=label_type)
    assert f"_ldr{N}_{M}_{K}" in folder.name
    trained = read_trained_run(folder)
    assert trained.config.low_data_sizes == (N, M, K)
    gold = label_type == "ground_truth" and method not in ("act",)
    assert trained.config.labels_used(trained.description["num_dev_used"]) == {"train": N, "dev": 0}
    on_labelled = gold and history(folder)[0]["phase"] == "tok"
    steps = [entry for entry in history(folder) if "train_loss" in entry]
    # batches of 4: the N labelled are one a pass, the M x K rows are five
    per_epoch = -(-N // 4) if on_labelled else -(-M * K // 4)
    assert len(steps) == 2 * per_epoch
    described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    split = school.root / "data" / "towns-ldr" / "train" / f"{N}_{M}_{K}_0.json"
    assert described["split_sha256"] == store.file_digest(split)
    assert "num_train_examples" not in described["config"]


def test_ground_truth_is_that_of_the_labelled_alone(school: School) -> None:
    material = material_of(school, "a2t", label_type="ground_truth")
    train_dataset, dev_dataset = material.datasets(TOK)
    prompt_tokenizer = material.prompt_tokenizer
    labelled = material.split.labelled
    assert len(labelled) == N
    decoded = [
        (
            prompt_tokenizer.tokenizer.decode(list(example.prompt), skip_special_tokens=True),
            prompt_tokenizer.text(example.response),
        )
        for example in train_dataset.examples
    ]
    assert decoded == [(example.question, example.answer) for example in labelled]
    # what the phase is judged by are the teacher's answers to the dev queries, not their own
    _, teacher = material.datasets(ACT)
    assert dev_dataset.examples == teacher.examples
    gold = [prompt_tokenizer.answer(prompt.query.answer, 4, "separator") for prompt in material.split.dev]
    assert all(example.response != answer for example, answer in zip(dev_dataset.examples, gold, strict=True))


def test_no_label_of_dev_or_unlabelled_examples_is_read(tmp_path: Path) -> None:
    """Blanked in the pool and in the split's file, they leave every bit of the adapter as it was."""
    seeing, blind = School.of(tmp_path / "seeing", "llama"), School.of(tmp_path / "blind", "llama")
    write_dataset(seeing.root, "towns", [f"town {i}" for i in range(40)])
    expected = seeing.train("a2t", **REGIME, label_type="ground_truth")
    labelled = {row["idx"] for row in material_labelled(seeing)}
    for path in (store.pool_path(seeing.root, "towns"), *(seeing.root / "data" / "towns-ldr").rglob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        parts = [data[key] for key in ("train", "dev") if key in data]
        rows = [row for part in parts for row in part["examples"]]
        rows += [row for row in data.get("train_examples", []) if row["idx"] not in labelled]
        for row in rows:
            row["answer"] = " hidden"
        store.write_object(blind.root / path.relative_to(seeing.root), data)
    found = blind.train("a2t", **REGIME, label_type="ground_truth")
    name = "adapter_model.safetensors"
    assert (found / name).read_bytes() == (expected / name).read_bytes()


def material_labelled(school: School) -> list[dict[str, Any]]:
    path = school.root / "data" / "towns-ldr" / "train" / f"{N}_{M}_{K}_0.json"
    rows: list[dict[str, Any]] = store.read_json(path)["labelled"]
    return rows


# Shared demonstrations


class Counter:
    """Counts the positions that are fed to the decoder for prompts, padding included, and the tokens fed after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts = self.steps = 0
        run, following = HookedModel.run, DecodingState.next

        def counting(hooked: HookedModel, **inputs: Any) -> Tensor:
            self.prompts += inputs["input_ids"].numel()
            return run(hooked, **inputs)

        def stepping(state: DecodingState, token: Tensor | None = None) -> StepOutput:
            if token is None:
                return following(state)
            before, self.steps = self.prompts, self.steps + len(token)
            seen = following(state, token)
            self.prompts = before
            return seen

        monkeypatch.setattr(HookedModel, "run", counting)
        monkeypatch.setattr(DecodingState, "next", stepping)


def prompts_of(school: School, sizes: tuple[int, int, int], long: int = 1) -> tuple[list[Ids], list[int], int]:
    """The teacher's prompts, the lengths of the demonstrations of each order, and the longest query."""
    pool = [Example(i, f"Input: {'very ' * long * (i % 3)}town {i}\nOutput:", f" {i}") for i in range(60)]
    split = draw_low_data_split(pool, LowDataSplitSpec(sizes, run_idx=0, num_dev_examples=0))
    prompt_tokenizer = school.lm.prompt_tokenizer()
    ids = [prompt_tokenizer.prompt(prompt) for prompt in split.train]
    queries = [prompt_tokenizer.ids(prompt.query.question) for prompt in split.train]
    shared = {
        prompt.demonstrations: len(whole) - len(query)
        for prompt, whole, query in zip(split.train, ids, queries, strict=True)
    }
    return ids, list(shared.values()), max(map(len, queries))


@pytest.mark.parametrize("sizes", [(8, 10, 6), (3, 12, 6), (4, 12, 24), (2, 20, 2)])
def test_rows_that_share_demonstrations_equal_one_by_one_and_read_them_once(
    school: School, sizes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, shared, longest_query = prompts_of(school, sizes)
    how = GenerationConfig(3, stopper=None)
    hooked = HookedModel(school.lm.model)
    alone = [generate(hooked, [prompt], how)[0] for prompt in prompts]
    counter = Counter(monkeypatch)
    together = generate(hooked, prompts, how)
    assert together == alone
    assert counter.steps == 2 * len(prompts)
    assert counter.prompts <= sum(shared) + len(prompts) * longest_query
    assert counter.prompts < sum(map(len, prompts)) / 2


def test_activations_of_shared_rows_equal_one_by_one(school: School) -> None:
    prompts, _, _ = prompts_of(school, (4, 6, 5))
    how, kinds = GenerationConfig(3, stopper=None), {"activations"}
    hooked = HookedModel(school.lm.model)
    together = collect(hooked, prompts, how, kinds)  # type: ignore[arg-type]
    apart = [collect(hooked, [prompt], how, kinds) for prompt in prompts]  # type: ignore[arg-type]
    assert together.activations is not None
    expected = torch.cat([one.activations for one in apart if one.activations is not None])
    assert (together.activations - expected).abs().max() <= 1e-5 * expected.abs().max()
