"""`ia2 results`: the table that it writes, what it prints, and how it ends."""

from pathlib import Path

import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings

from ia2 import cli
from ia2.commands.reparse import reparse
from ia2.config import ReparseConfig, ReportConfig, ResultsConfig, TablesConfig
from ia2.errors import MachineError, UserError
from ia2.flows.reporting import write_report
from ia2.flows.results import gather
from ia2.flows.tables import tables


def gathered(store: MadeUpStore, **changes: object) -> pd.DataFrame:
    path = gather(ResultsConfig(root=store.root, **changes))
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def test_the_table_holds_every_measurement_and_the_summary_what_was_chosen(
    full_store: MadeUpStore, capsys: pytest.CaptureFixture[str]
) -> None:
    table = gathered(full_store)
    assert (full_store.root / "reports" / "results.csv").exists()
    assert set(table["record"]) == {path.relative_to(full_store.root).as_posix() for path in full_store.written}
    assert not table[["record", "metric"]].duplicated().any()
    accuracies = table[table["metric"] == "without_icl_accuracy"].set_index(["method", "lr", "run_idx"])["value"]
    assert accuracies["a2t", 0.0003, 1] == 65.0
    assert accuracies["a2t", 0.001, 1] == 85.0
    printed = capsys.readouterr().out
    assert "85.0 ± 5.0" in printed
    assert "65.0 ± 5.0  " in printed, "act; of a2t this is the accuracy at the learning rate that was not chosen"
    assert f"{len(table)} measurements of 21 records" in printed


def test_csv_and_parquet_hold_the_same(full_store: MadeUpStore, tmp_path: Path) -> None:
    text = gathered(full_store, out=tmp_path / "made" / "x.csv")
    table = gathered(full_store, out=tmp_path / "x.parquet")
    assert list(text.columns) == list(table.columns)
    pd.testing.assert_series_equal(text["value"], table["value"], check_dtype=False)
    assert pd.api.types.is_integer_dtype(table["lora_r"])


@pytest.mark.parametrize(
    ("filters", "methods", "datasets"),
    [
        ({"model_types": ("act", "base")}, {"act", "base"}, {"gsm8k", "gsm8ks"}),
        ({"trained_datasets": ("gsm8k",)}, {"act", "base", "tok"}, {"gsm8k", "gsm8ks"}),
        ({"eval_datasets": ("gsm8ks",)}, {"act", "base", "tok"}, {"gsm8ks"}),
        ({"eval_datasets": ("gsm8k",), "model_types": ("tok",)}, {"tok"}, {"gsm8k"}),
    ],
)
def test_filters_compare_whole_fields(store: MadeUpStore, filters: dict, methods: set, datasets: set) -> None:
    for dataset in ("gsm8k", "gsm8ks"):
        asked = settings(eval_dataset=dataset, icl_source_dataset="gsm8k")
        store.base((0.0, 70.0), eval=asked)
        for method in ("act", "tok"):
            store.adapter(config(method, dataset="gsm8k"), 70.0, 0.5, eval=asked)
    store.adapter(config("act", dataset="gsm8ks"), 70.0, 0.5, eval=settings(eval_dataset="gsm8ks"))
    table = gathered(store, **filters)
    assert set(table["method"]) == methods
    assert set(table["eval_dataset"]) == datasets
    assert ("gsm8ks" in set(table["dataset"])) == ("trained_datasets" not in filters and "gsm8ks" in datasets)


NONE = {"icl_source_datasets": "sst2", "icl_max_demos": 99, "model_id": "no/model", "num_examples": 99}
NONE |= {"num_generated_tokens_eval": 99}
"""A value of each filter that no record has."""


@pytest.mark.parametrize("name", NONE)
def test_each_command_on_records_takes_each_filter(full_store: MadeUpStore, name: str) -> None:
    fields = {"root": full_store.root, name: NONE[name] if name == "model_id" else (NONE[name],)}
    for command, kind in ((gather, ResultsConfig), (write_report, ReportConfig), (tables, TablesConfig)):
        with pytest.raises(UserError, match="passes"):
            command(kind.model_validate(fields))
    if name in ReparseConfig.model_fields:
        with pytest.raises(UserError, match="no record"):
            reparse(ReparseConfig.model_validate(fields))


def test_what_means_nothing_to_a_record_leaves_it(full_store: MadeUpStore) -> None:
    assert set(gathered(full_store, num_generated_tokens=(99,))["method"]) == {"base"}
    assert set(gathered(full_store, label_types=("icl_outputs",))["method"]) == {"base", "act"}


def test_a_filter_that_leaves_nothing_says_what_there_is(full_store: MadeUpStore) -> None:
    with pytest.raises(UserError, match="no record passes --eval_datasets sst2; there are capitals"):
        gathered(full_store, eval_datasets=("sst2",))
    with pytest.raises(UserError, match="no record passes --model_types ia3-act; there are a2t, act, base, tok"):
        gathered(full_store, model_types=("ia3-act",))
    with pytest.raises(UserError, match="unknown method 'sft'"):
        gathered(full_store, model_types=("act", "sft"))


def test_an_empty_store_is_told(store: MadeUpStore) -> None:
    with pytest.raises(UserError, match=r"no evaluation record below .*; `ia2 evaluate` makes them"):
        gathered(store)


def test_a_damaged_record_is_named_and_the_rest_is_counted(
    store: MadeUpStore, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    store.base((0.0, 75.0))
    broken = store.base((0.0, 70.0), run_idx=1)
    broken.write_text("{")
    with pytest.raises(MachineError, match="1 record cannot be read"):
        gathered(store)
    assert f"{broken} is not counted: not a whole record" in caplog.text
    assert set(pd.read_csv(store.root / "reports" / "results.csv")["run_idx"]) == {0}
    assert "75.0" in capsys.readouterr().out
    assert cli.main(["results", "--root", str(store.root)]) == 1


def test_the_table_is_written_where_the_summary_cannot_choose(store: MadeUpStore) -> None:
    for run_idx, lr in ((0, 1e-3), (0, 3e-4), (1, 3e-4)):
        store.adapter(config("tok", run_idx, lr), 70.0, 0.5, eval=settings(run_idx=run_idx))
    with pytest.raises(UserError, match="lacks run_idx 1"):
        gathered(store)
    assert len(pd.read_csv(store.root / "reports" / "results.csv")["record"].unique()) == 3


def test_another_ending_is_refused() -> None:
    with pytest.raises(UserError, match=r"out='x\.xlsx': the name has to end in \.csv or \.parquet"):
        ResultsConfig(out=Path("x.xlsx"))
