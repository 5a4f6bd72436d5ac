"""`ia2 tables`: which files are written, of what, and what is refused."""

import csv
from pathlib import Path
from typing import Any

import pytest
from made_up import MadeUpStore, config, settings

from ia2.cli import main
from ia2.config import TablesConfig
from ia2.errors import UserError
from ia2.flows.tables import FOR_ALL, IN_NAMES, tables

STEM = "smollm2-135m_8_lora_ground_truth"


def written(store: MadeUpStore, **flags: Any) -> list[str]:
    return [path.name for path in tables(TablesConfig(root=store.root, **flags)) if path.suffix == ".csv"]


def rows(store: MadeUpStore, **flags: Any) -> list[dict[str, str]]:
    paths = [path for path in tables(TablesConfig(root=store.root, **flags)) if path.suffix == ".csv"]
    return [row for path in paths for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())]


def test_three_files_a_table_and_the_table_on_the_terminal(
    full_store: MadeUpStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", "--root", str(full_store.root)]) == 0
    folder = full_store.root / "reports" / "tables"
    assert sorted(path.name for path in folder.iterdir()) == [f"{STEM}.csv", f"{STEM}.md", f"{STEM}.tex"]
    told = capsys.readouterr().out
    assert (folder / f"{STEM}.md").read_text(encoding="utf-8") in told
    assert f"wrote {folder / STEM}.tex" in told
    latex = (folder / f"{STEM}.tex").read_text(encoding="utf-8")
    assert latex.startswith("% ia2 tables\n")
    assert r"\label{tab:smollm2-135m-8-lora-ground-truth}" in latex
    assert r"\textbf{85.0}" in latex


def test_what_is_asked_for_stands_in_the_name(full_store: MadeUpStore) -> None:
    asked = {"metrics": ("nll", "brier"), "model_types": ("base", "act"), "hp_selection": "performance"}
    tail = "+metrics=nll,brier+model_types=base,act+hp_selection=performance"
    assert written(full_store, **asked, num_examples=(8,), model_id="smollm2-135m") == [
        f"smollm2-135m_8_lora{tail}.csv"
    ]
    found = rows(full_store, **asked)
    assert {row["metric"] for row in found} == {"nll", "brier"}
    assert {row["method"] for row in found} == {"base", "act"}
    assert {row["hyper_parameters"].split(" among")[0] for row in found} - {""} == {
        "0.001, of highest accuracy on this very evaluation set (as published)"
    }


@pytest.mark.parametrize(
    ("flags", "columns"),
    [
        ({"trained_datasets": ("gsm8k",)}, {("tok", "gsm8k", "gsm8k")}),
        ({"eval_datasets": ("gsm8ks",)}, {("tok", "gsm8ks", "gsm8ks"), ("base", "gsm8ks", "gsm8ks")}),
        ({"model_types": ("base",)}, {("base", "gsm8ks", "gsm8ks")}),
        ({"num_examples": (4,)}, {("act", "capitals", "capitals")}),
        ({"model_id": "another"}, {("ia3-act", "capitals", "capitals")}),
        ({"label_types": ("icl_outputs",)}, "all but tok"),
    ],
)
def test_filters_compare_whole_fields(store: MadeUpStore, flags: dict[str, Any], columns: object) -> None:
    for dataset in ("gsm8k", "gsm8ks"):
        changes = settings(eval_dataset=dataset, icl_source_dataset=dataset)
        store.adapter(config("tok", dataset=dataset), 70.0, 0.5, eval=changes)
    store.base((0.0, 1.0), eval=settings(eval_dataset="gsm8ks", icl_source_dataset="gsm8ks"))
    store.adapter(config("act", num_train_examples=4), 60.0, 0.5, eval=settings(num_train_examples=4))
    store.adapter(config("ia3-act"), 60.0, 0.5, eval=settings(model_id="another"))
    found = {(row["method"], row["trained_dataset"], row["eval_dataset"]) for row in rows(store, **flags)}
    everything = {("base", "gsm8ks", "gsm8ks"), ("act", "capitals", "capitals"), ("ia3-act", "capitals", "capitals")}
    assert found == (everything if columns == "all but tok" else columns)


def test_the_papers_numbers_below_ours(store: MadeUpStore) -> None:
    """Its ECE under the metric that it is, which is shown whether asked for or not."""
    made = {"num_train_examples": 4, "dataset": "sst2", "model_id": "Qwen/Qwen3-4B-Base"}
    evaluated = {"num_train_examples": 4, "model_id": "Qwen/Qwen3-4B-Base", "icl_source_dataset": "sst2"}
    for dataset in ("sst2", "nyt"):
        record = config("tok").model_copy(update=made)
        store.adapter(record, 60.0, 0.5, eval=settings(eval_dataset=dataset, **evaluated))
    found = rows(store, compare="published")
    published = {row["metric"]: row["mean"] for row in found if row["source"] == "published"}
    assert published == {"accuracy": "65.2", "ece_published": "0.22"}
    (path,) = (store.root / "reports" / "tables").glob("*.md")
    assert path.stem == "Qwen3-4B-Base_4_lora_ground_truth+compare=published"
    assert "It has no numbers of sst2 / nyt" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"metrics": ("acuracy",)}, "metrics='acuracy' is in none of the records; measured are accuracy, anywhere"),
        ({"eval_datasets": ("capital",)}, "no record passes --eval_datasets capital; there are capitals"),
    ],
)
def test_what_is_not_there_is_refused(full_store: MadeUpStore, flags: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tables(TablesConfig(root=full_store.root, **flags))
    assert not (full_store.root / "reports").exists()


def test_models_of_one_name_do_not_overwrite_each_other(store: MadeUpStore) -> None:
    for owner in ("one", "other"):
        store.base((0.0, 50.0), eval=settings(model_id=f"{owner}/model"))
    with pytest.raises(UserError, match="one/model, N = 8 and other/model, N = 8 have one name"):
        tables(TablesConfig(root=store.root))
    assert written(store, model_id="one/model") == ["model_8_base.csv"]


def test_what_was_measured_with_uncertainty_too_is_one_column(store: MadeUpStore) -> None:
    for uncertainty in (False, True):
        store.adapter(config("tok"), 70.0, 0.5, eval=settings(uncertainty_analysis=uncertainty))
    assert [(row["details"], row["n"]) for row in rows(store, metrics=("accuracy",))] == [("", "1")]


def test_a_damaged_record_is_named_and_the_rest_shown(
    full_store: MadeUpStore, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    full_store.base((0.0, 1.0), run_idx=3).write_text('{"schema": 1, "kin')
    assert main(["tables", "--root", str(full_store.root)]) == 1
    assert "record021.json is not counted" in caplog.text
    told = capsys.readouterr()
    assert f"wrote {full_store.root / 'reports' / 'tables' / STEM}.tex" in told.out
    assert told.err.endswith("ia2: 1 record cannot be read: delete them and make them again\n")


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation record"):
        tables(TablesConfig(root=tmp_path))


def test_every_field_that_changes_a_table_is_in_its_name() -> None:
    fields = TablesConfig.model_fields.keys() - TablesConfig.not_in_run_id
    assert fields - FOR_ALL == {*IN_NAMES}
