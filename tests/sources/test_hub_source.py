"""The hub: real `datasets` on a folder laid out as a hub repository, with the hub itself out of reach."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ia2.sources import HubError, HubSource, load_split
from ia2.sources import hub as hub_module

INVENTED = [{"text": "a", "n": 1}, {"text": "b ", "n": 2}]


def write_parquet(path: Path, rows: Iterable[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where `datasets` looks before it asks the hub; the hub itself is out of reach."""
    import datasets  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IA2_OFFLINE_DATASETS", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(hub_module, "_resolves", lambda _: False)
    return tmp_path


def test_a_folder_laid_out_as_a_hub_repository(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(hub / "someone" / "rows" / "data" / "train-00000-of-00001.parquet", INVENTED)
    table = load_split(HubSource("someone/rows"), "train")
    assert table.rows == INVENTED
    assert table.source == "folder someone/rows train"
    assert capsys.readouterr().err.splitlines()[0] == "loading someone/rows, split train, from a folder ..."


def test_unknown_split_and_configuration(hub: Path) -> None:
    write_parquet(hub / "someone" / "rows" / "data" / "train-00000-of-00001.parquet", INVENTED)
    with pytest.raises(HubError, match=r"someone/rows, split test, .*Unknown split \"test\".*train"):
        load_split(HubSource("someone/rows"), "test")
    with pytest.raises(HubError, match=r"someone/rows \(other\), .*'other' not found"):
        load_split(HubSource("someone/rows", config="other"), "train")


def test_a_hub_out_of_reach_names_every_remedy(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import datasets  # noqa: PLC0415

    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(HubError) as caught:
        load_split(HubSource("someone/elsewhere", config="main", offline_task="capitals"), "train")
    for part in ("someone/elsewhere (main)", "HF_ENDPOINT", "HF_HUB_OFFLINE=1", "nearest task is capitals"):
        assert part in str(caught.value)
    assert "DIR/someone__elsewhere__main/train.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "does not resolve" in capsys.readouterr().err
    assert before == datasets.config.HF_HUB_OFFLINE


def test_an_address_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "getproxies", dict)
    assert not hub_module._resolves("https://nowhere.invalid")
    assert hub_module._resolves("http://localhost:1")
    monkeypatch.setattr(hub_module, "getproxies", lambda: {"https": "http://proxy"})
    assert hub_module._resolves("https://nowhere.invalid")


def test_offline_folder_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_parquet(tmp_path / "someone__rows__main" / "train.parquet", INVENTED)
    (tmp_path / "someone__rows__main" / "test.jsonl").write_text("\n".join(map(json.dumps, INVENTED)))
    source = HubSource("someone/rows", config="main")
    train, test = load_split(source, "train"), load_split(source, "test")
    assert train.rows == test.rows == INVENTED
    assert train.provenance["sha256"] == test.provenance["sha256"]
    assert train.provenance["source"] == "file someone__rows__main/train.parquet"
    with pytest.raises(HubError, match=r"someone__rows__main has no dev\.parquet"):
        load_split(source, "dev")
