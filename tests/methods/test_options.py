"""The options of training, each through a whole run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from school import School, history, outspoken_model
from tiny_runs import files_of, leftovers

from ia2 import cli, store
from ia2.commands.evaluate import evaluate
from ia2.commands.train import train
from ia2.config import EvaluateConfig, TrainConfig
from ia2.errors import UserError
from ia2.methods import METHODS
from ia2.models.hooked_model import select_layers
from ia2.models.loading import ModelCache

STEPS = {"num_train_epochs": 4}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    return School.of(tmp_path_factory.mktemp("options"), "llama")


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def norm(tensors: Any) -> float:  # noqa: ANN401 - an iterable of tensors
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())


# Norms


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The norm of the gradient that each optimiser step was given."""
    norms: list[float] = []

    class Watching(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:  # noqa: ANN401
            norms.append(norm(p.grad for group in self.param_groups for p in group["params"]))
            return super().step(closure)

    monkeypatch.setattr("torch.optim.Adam", Watching)
    return norms


def test_the_gradient_is_clipped_and_its_norm_told_before(school: School, stepped: list[float]) -> None:
    free = history(school.train("act", **STEPS, log_gradient_norms=True, retrain=True))
    unclipped = [entry["gradient_norm"] for entry in free]
    assert unclipped == pytest.approx(stepped, rel=1e-5)
    assert min(unclipped) > 0.5
    stepped.clear()
    clipped = history(school.train("act", **STEPS, log_gradient_norms=True, gradient_clip_val=0.5))
    assert stepped == pytest.approx([0.5] * 4, rel=1e-4)
    assert clipped[0]["gradient_norm"] == unclipped[0]
    assert min(entry["gradient_norm"] for entry in clipped) > 0.5


def test_clipping_enters_the_name_and_a_wide_limit_changes_nothing(school: School, stepped: list[float]) -> None:
    wide = school.train("act", **STEPS, gradient_clip_val=1e9)
    assert "+gradient_clip_val=1000000000.0" in wide.name
    assert max(stepped) > 0.5
    assert weights(wide) == weights(school.train("act", **STEPS))


def test_the_norm_of_the_weights_is_told(school: School) -> None:
    folder = school.train("act", **STEPS, log_weight_norms=True, retrain=True)
    told = [entry["weight_norm"] for entry in history(folder)]
    assert told[-1] == pytest.approx(norm(load_file(folder / "adapter_model.safetensors").values()), rel=1e-6)
    assert len(set(told)) == 4


def test_norms_are_told_only_where_asked_for(school: School) -> None:
    for entry in history(school.train("act", **STEPS, retrain=True)):
        assert not {"gradient_norm", "weight_norm"} & entry.keys()


# Checkpoints, and which weights are kept


@pytest.mark.parametrize("method", ["act", "prompt-tok"])
def test_checkpoints_are_adapters_of_their_step(school: School, method: str) -> None:
    folder = school.train(method, num_train_epochs=5, log_checkpoints=True, checkpoint_frequency=2, retrain=True)
    checkpoints = sorted((folder / "checkpoints").iterdir())
    phase = METHODS[method].variant
    assert [path.name for path in checkpoints] == [f"{phase}_2", f"{phase}_4"]
    for path, steps in zip(checkpoints, (2, 4), strict=True):
        PeftModel.from_pretrained(outspoken_model("llama"), str(path))  # type: ignore[arg-type]
        assert weights(path) == weights(school.train(method, num_train_epochs=steps))
    assert not any("checkpoints" in str(path) for path in store.run_folders(school.root))


# Going on


def test_training_goes_on_from_a_folder(school: School) -> None:
    first = school.train("act", **STEPS)
    still = school.train("act", **STEPS, lr=1e-30, continue_training=str(first))
    assert weights(still) == weights(first)
    moved = school.train("tok", num_train_epochs=2, continue_training=str(first))
    assert weights(moved) != weights(first)
    digest = store.file_digest(first / "adapter_model.safetensors")
    for folder in (still, moved):
        assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["starts_from"] == digest
    assert history(moved)[0]["train_loss"] != history(school.train("tok", num_train_epochs=2))[0]["train_loss"]


def test_a_run_that_fails_in_the_first_of_two_phases_has_no_second(school: School) -> None:
    first = school.train("act", **STEPS)
    with pytest.raises(UserError, match="lower --lr"):
        school.train("a2t", **STEPS, lr=1e30, continue_training=str(first))
    assert leftovers(school.root) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training_method": "ia3-act"}, "peft_type=.*LORA.*, not .*IA3"),
        ({"lora_r": 4}, "r=8, not 4"),
        ({"lora_alpha": 16}, "lora_alpha=8, not 16"),
        ({"lora_type": "q"}, "target_modules=.*, not "),
    ],
    ids=str,
)
def test_an_adapter_of_another_kind_is_not_gone_on_from(school: School, changes: dict[str, Any], says: str) -> None:
    first = school.train("act", **STEPS)
    fields = {"training_method": "act", **STEPS, **changes}
    with pytest.raises(UserError, match=f"holds an adapter with {says}"):
        train(school.config(fields.pop("training_method"), **fields, continue_training=str(first)), school.models)
    assert leftovers(school.root) == []


COMMAND = "train --training_method act --dataset capitals --num_train_examples 4 --num_train_epochs 1 --lr 0.01"


def test_the_bare_flag_goes_on_from_the_run_of_that_name(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*COMMAND.split(), "--model_id", str(tiny_model_folder), "--root", str(tmp_path)]
    name = f"{tiny_model_folder.name}_qkv_8_8_8_4_0.01_0+num_train_epochs=1"
    assert cli.main([*words, "--continue_training"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("ia2: PEFT model not found: ")
    assert name in said
    assert not list(tmp_path.glob("outputs/*/*/*/run.json"))
    assert cli.main([*words, "--continue_training", str(tmp_path / "no-where")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "PEFT model not found" in said
    assert "no-where" in said
    assert cli.main(words) == 0
    first = tmp_path / "outputs" / "act" / "capitals" / name
    before = files_of(first)
    assert cli.main([*words, "--continue_training"]) == 0
    assert files_of(first) == before
    (second,) = [folder for folder in store.run_folders(tmp_path) if folder != first]
    described = json.loads((second / "run.json").read_text(encoding="utf-8"))
    assert described["starts_from"] == store.file_digest(first / "adapter_model.safetensors")


# Layers


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("all", None),
        ("7", (7,)),
        ("0", (0,)),
        ("4-6", (4, 5, 6)),
        ("11-11", (11,)),
        ("::5", (0, 5, 10)),
        ("::1", tuple(range(12))),
    ],
)
def test_layers(text: str, chosen: tuple[int, ...] | None) -> None:
    assert select_layers(text, 12) == chosen


@pytest.mark.parametrize("text", ["12", "4-12", "6-4", "::0", "-1", "1,2", "every", "", "1-", "::", "0::2"])
def test_layers_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=r"give all, one layer as 7, a range as 4-11 .* of the layers 0 to 11"):
        select_layers(text, 12)


@pytest.mark.parametrize("changes", [{"layers": "1"}, {"layers": "::2"}, {"act_norm": "layer"}], ids=str)
def test_what_is_matched_enters_the_loss_and_the_name(school: School, changes: dict[str, str]) -> None:
    folder = school.train("act", num_train_epochs=1, **changes)
    ((key, value),) = changes.items()
    assert f"+{key}={value}" in folder.name
    whole, some = history(school.train("act", num_train_epochs=1))[0], history(folder)[0]
    assert some["train_loss"] != pytest.approx(whole["train_loss"], rel=1e-3)
    if key == "layers":
        other = history(school.train("act", num_train_epochs=1, layers="0" if value == "1" else "1"))[0]
        assert some["train_loss"] + other["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-5)


def test_layers_beyond_the_model_are_refused_before_training(school: School) -> None:
    with pytest.raises(UserError, match=r"layers='2': .* of the layers 0 to 1"):
        school.train("act", layers="2")


# The published protocol


def test_the_published_protocol_of_training() -> None:
    published = TrainConfig(training_method="act", protocol="published")
    assert (published.keep, published.stop) == ("last", "published")
    asked = cli.parse_arguments(["train", "--training_method", "act", "--protocol", "published"])
    assert isinstance(asked, TrainConfig)
    assert (asked.keep, asked.stop) == ("last", "published")
    assert TrainConfig(training_method="act", protocol="published", stop="eos").stop == "eos"
    same = TrainConfig(training_method="act", keep="last", stop="published", num_generated_tokens=1)
    assert store.run_name(published.model_copy(update={"num_generated_tokens": 1})) == store.run_name(same)
    default = TrainConfig(training_method="act")
    assert (default.keep, default.stop) == ("best", "separator")


@pytest.mark.parametrize(("protocol", "pool"), [("published", "remaining"), ("default", "train")])
def test_the_published_protocol_of_evaluation(school: School, protocol: str, pool: str) -> None:
    config = EvaluateConfig(
        root=school.root,
        model_id=str(school.base),
        model_types=("base",),
        eval_datasets=("towns",),
        num_examples=(2,),
        run_indices=(0,),
        icl_max_demos=2,
        num_eval_examples=3,
        protocol=protocol,  # type: ignore[arg-type]
    )
    (path,) = evaluate(config, school.models)
    assert json.loads(path.read_text(encoding="utf-8"))["eval"]["icl_pool"] == pool


# Bases that cannot be trained on


@pytest.mark.parametrize(
    ("quantisation", "says"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "4-bit weights quantised by bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "4-bit weights quantised by gptq"),
        ({"quant_method": "awq", "bits": 8}, "weights quantised by awq"),
    ],
)
def test_quantised_bases_are_refused_by_name_before_their_weights_are_read(
    school: School, tmp_path: Path, quantisation: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "tiny-4bit"
    base.mkdir()
    for file in school.base.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    config = store.read_object(base / "config.json")
    store.write_json(base / "config.json", {**config, "quantization_config": quantisation})
    monkeypatch.setattr("ia2.models.loading.AutoModelForCausalLM.from_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=rf"model_id='{base}' holds {says}"):
        train(school.config("act", model_id=str(base)), ModelCache())
