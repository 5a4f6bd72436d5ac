"""Updates from adapter files, against the whole matrices that PEFT itself makes of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from described import describe
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from ia2 import store
from ia2.analysis.subspace import overlap_rows, read_updates
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.models.adapters import new_adapter, peft_config, save_adapter, trainable_parameters


def lora(letters: str) -> TrainConfig:
    return TrainConfig(training_method="act", lora_type=letters)


def saved(folder: Path, shape: str = "llama", seed: int = 1, letters: str = "qkvo") -> dict[str, np.ndarray]:
    """A random LoRA adapter in `folder`; returns the whole update of each adapted module, by PEFT."""
    model = tiny_model(shape)
    with new_adapter(model, peft_config(model, lora(letters)), seed=seed) as adapted:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in trainable_parameters(adapted).values():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        folder.mkdir()
        save_adapter(adapted, folder, "tiny")
        return whole_updates(adapted)


def whole_updates(adapted: PeftModel) -> dict[str, np.ndarray]:
    found = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "get_delta_weight"):
            delta = module.get_delta_weight("default").detach().double().numpy()
            found[name] = delta.T if module.fan_in_fan_out else delta  # [d_out, d_in]
    return found


@pytest.mark.parametrize("shape", ["llama", "gpt2", "phi3"])
def test_updates_are_pefts_own_of_every_module(tmp_path: Path, shape: str) -> None:
    letters = {"gpt2": "qkvoud", "phi3": "qkvo"}.get(shape, "qkvogud")
    whole = saved(tmp_path / "adapter", shape, letters=letters)
    updates = read_updates(tmp_path / "adapter")
    assert len(updates) == len(whole) == len({*updates}), "c_proj of attention and MLP are two"
    for (layer, projection), update in updates.items():
        (name,) = [name for name in whole if name.endswith(f".{layer}.{projection}")]
        assert update is not None
        np.testing.assert_allclose(update.left * update.values @ update.right.T, whole[name], atol=1e-4)


def test_the_rows_are_those_of_the_whole_matrices(tmp_path: Path) -> None:
    """Overlaps by a full SVD of each d x d matrix, one by one."""
    whole = [saved(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 2))]
    rows = overlap_rows(*(read_updates(tmp_path / name) for name in "ab"))
    assert len(rows) == 2 * 4
    for row in rows.itertuples():
        name = next(name for name in whole[0] if name.endswith(f".{row.layer}.{row.projection}"))
        first, second = (one[name] for one in whole)
        u1, s1, v1 = np.linalg.svd(first)
        u2, s2, v2 = np.linalg.svd(second)
        assert (row.rank_a, row.rank_b) == (8, 8)
        assert row.left_overlap == pytest.approx(np.square(u1[:, :8].T @ u2[:, :8]).sum() / 8, rel=1e-4)
        assert row.right_overlap == pytest.approx(np.square(v1[:8] @ v2[:8].T).sum() / 8, rel=1e-4)
        assert row.cosine == pytest.approx((first * second).sum() / np.linalg.norm(s1) / np.linalg.norm(s2), abs=1e-5)
        shares = np.square(s1[:8]) / np.square(s1[:8]).sum()
        assert row.effective_rank_a == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
        assert (row.chance_left, row.chance_right) == (8 / len(first), 8 / first.shape[1])


def test_chance_differs_between_the_sides(tmp_path: Path) -> None:
    """k is 32 to 16 here: what it writes has half as many dimensions as what it reads."""
    saved(tmp_path / "a")
    rows = overlap_rows(read_updates(tmp_path / "a"), read_updates(tmp_path / "a"))
    k = rows[rows["projection"] == "self_attn.k_proj"].iloc[0]
    assert (k["chance_left"], k["chance_right"]) == (0.5, 0.25)
    np.testing.assert_allclose(rows[["left_overlap", "right_overlap", "left_energy_overlap", "cosine"]], 1)


def test_an_update_of_zero_has_no_row(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    saved(tmp_path / "b", seed=2)
    weights = load_file(tmp_path / "b" / "adapter_model.safetensors")
    name = next(name for name in weights if ".1.self_attn.q_proj.lora_B" in name)
    save_file({**weights, name: torch.zeros_like(weights[name])}, tmp_path / "b" / "adapter_model.safetensors")
    both = read_updates(tmp_path / "a"), read_updates(tmp_path / "b")
    assert both[1][1, "self_attn.q_proj"] is None
    rows = overlap_rows(*both)
    assert len(rows) == 7
    assert rows[["layer", "projection"]].values.tolist() == sorted(
        [layer, f"self_attn.{letter}_proj"] for layer in (0, 1) for letter in "kqvo" if (layer, letter) != (1, "q")
    )
    assert rows.notna().all(axis=None)


def test_an_adapter_that_was_never_trained_has_none(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, lora("qkvo")), seed=0) as adapted:
        (tmp_path / "new").mkdir()
        save_adapter(adapted, tmp_path / "new", "tiny")
    saved(tmp_path / "a")
    assert set(read_updates(tmp_path / "new").values()) == {None}
    rows = overlap_rows(read_updates(tmp_path / "new"), read_updates(tmp_path / "a"))
    assert len(rows) == 0
    assert isinstance(rows, pd.DataFrame)


@pytest.mark.parametrize(("rank_stabilised", "factor"), [(False, 1 / 8), (True, 1 / np.sqrt(8))])
def test_the_scaling_is_that_of_the_adapters_config(tmp_path: Path, rank_stabilised: bool, factor: float) -> None:
    saved(tmp_path / "a", letters="q")
    path = tmp_path / "a" / "adapter_config.json"
    store.write_json(path, {**store.read_json(path), "lora_alpha": 3, "use_rslora": rank_stabilised})
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    b, a = (next(w for name, w in weights.items() if f".0.self_attn.q_proj.lora_{end}" in name) for end in "BA")
    update = read_updates(tmp_path / "a")[0, "self_attn.q_proj"]
    assert update is not None
    assert np.linalg.norm(update.values) == pytest.approx(3 * factor * float((b.double() @ a.double()).norm()))


@pytest.mark.parametrize("damage", ["cut", "gone", "no config", "not finite"])
def test_what_cannot_be_read_is_told(tmp_path: Path, damage: str) -> None:
    saved(tmp_path / "a", letters="q")
    weights, config = tmp_path / "a" / "adapter_model.safetensors", tmp_path / "a" / "adapter_config.json"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-7])
        case "gone":
            weights.unlink()
        case "no config":
            config.write_text("{}")
        case "not finite":
            save_file({name: one * torch.nan for name, one in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match="holds no LoRA adapter that can be read"):
        read_updates(tmp_path / "a")


def test_a_run_whose_weights_were_edited_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "a", letters="q")
    describe(tmp_path / "a", {})
    assert len(read_updates(tmp_path / "a")) == 2
    weights = tmp_path / "a" / "adapter_model.safetensors"
    save_file({name: 2 * one for name, one in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match=f"{weights} is damaged"):
        read_updates(tmp_path / "a")


def test_another_kind_of_adapter_is_told(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, TrainConfig(training_method="ia3-act")), seed=0) as adapted:
        (tmp_path / "ia3").mkdir()
        save_adapter(adapted, tmp_path / "ia3", "tiny")
    with pytest.raises(UserError, match="holds no LoRA adapter"):
        read_updates(tmp_path / "ia3")
