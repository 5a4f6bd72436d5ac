"""The hub: real `datasets` and the hub's real client, on folders laid out as repositories and on a hub of our own."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from fake_hub import commit, serving

from ia2.sources import HubError, HubSource, load_hub_split
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
    monkeypatch.setattr(hub_module, "hub_resolves", lambda _: False)
    return tmp_path


def test_a_folder_laid_out_as_a_hub_repository(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(hub / "someone" / "rows" / "data" / "train-00000-of-00001.parquet", INVENTED)
    table = load_hub_split(HubSource("someone/rows"), "train")
    assert table.rows == INVENTED
    assert table.source == "folder someone/rows train"
    assert capsys.readouterr().err.splitlines()[0] == "loading someone/rows, split train, from a folder ..."


def test_unknown_split_and_configuration(hub: Path) -> None:
    write_parquet(hub / "someone" / "rows" / "data" / "train-00000-of-00001.parquet", INVENTED)
    with pytest.raises(HubError, match=r"someone/rows, split test, .*Unknown split \"test\".*train"):
        load_hub_split(HubSource("someone/rows"), "test")
    with pytest.raises(HubError, match=r"someone/rows \(other\), .*'other' not found") as caught:
        load_hub_split(HubSource("someone/rows", config="other"), "train")
    assert "from the folder someone/rows, which goes before the hub" in str(caught.value)
    assert "HF_ENDPOINT" not in str(caught.value)


def test_a_hub_out_of_reach_names_every_remedy(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import datasets  # noqa: PLC0415

    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(HubError) as caught:
        load_hub_split(HubSource("someone/elsewhere", config="main", offline_task="capitals"), "train")
    for part in ("someone/elsewhere (main)", "HF_ENDPOINT", "HF_HUB_OFFLINE=1", "nearest task is capitals"):
        assert part in str(caught.value)
    assert "DIR/someone__elsewhere__main/train.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "does not resolve" in capsys.readouterr().err
    assert before == datasets.config.HF_HUB_OFFLINE


def test_an_address_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "getproxies", dict)
    assert not hub_module.hub_resolves("https://nowhere.invalid")
    assert hub_module.hub_resolves("http://localhost:1")
    monkeypatch.setattr(hub_module, "getproxies", lambda: {"https": "http://proxy"})
    assert hub_module.hub_resolves("https://nowhere.invalid")


def test_offline_folder_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_parquet(tmp_path / "someone__rows__main" / "train.parquet", INVENTED)
    (tmp_path / "someone__rows__main" / "test.jsonl").write_text("\n".join(map(json.dumps, INVENTED)))
    source = HubSource("someone/rows", config="main")
    train, test = load_hub_split(source, "train"), load_hub_split(source, "test")
    assert train.rows == test.rows == INVENTED
    assert train.provenance["sha256"] == test.provenance["sha256"]
    assert train.provenance["source"] == "file someone__rows__main/train.parquet"
    with pytest.raises(HubError, match=r"__main has no dev\.parquet .* \(main\) \(splits there: test, train\)"):
        load_hub_split(source, "dev")
    with pytest.raises(HubError, match=r"someone__none has no dev\.parquet .* for someone/none: put the file there"):
        load_hub_split(HubSource("someone/none"), "dev")


@pytest.fixture
def served(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub in reach, with caches of its own: someone/rows is parquet, someone/script a script and its conversion."""
    import datasets  # noqa: PLC0415
    import huggingface_hub.constants as client  # noqa: PLC0415

    root = hub / "hub"
    write_parquet(root / "someone" / "rows" / "main" / "train.parquet", INVENTED)
    write_parquet(root / "someone" / "rows" / "v1" / "train.parquet", INVENTED[:1])
    (root / "someone" / "script" / "main").mkdir(parents=True)
    (root / "someone" / "script" / "main" / "script.py").write_text("raise SystemExit('a script was run')")
    conversion = root / "someone" / "script" / "refs%2Fconvert%2Fparquet"
    for configuration, rows in (("default", INVENTED), ("small", INVENTED[:1])):
        write_parquet(conversion / configuration / "train" / "0000.parquet", rows)
        (conversion / configuration / "train" / "index.duckdb").write_text("not for us")
    write_parquet(conversion / "default" / "test" / "0000.parquet", INVENTED[1:])
    monkeypatch.setattr(hub_module, "hub_resolves", lambda _: True)
    monkeypatch.setattr(client, "HF_HUB_CACHE", str(hub / "hub-cache"))
    with serving(root) as address:
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
        monkeypatch.setattr(client, "ENDPOINT", address)
        monkeypatch.setattr(client, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(
            datasets.config, "HUB_DATASETS_URL", address + "/datasets/{repo_id}/resolve/{revision}/{path}"
        )
        yield root


@pytest.fixture
def go_offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What HF_HUB_OFFLINE=1 sets when `datasets` is imported."""
    import datasets  # noqa: PLC0415

    return lambda: monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_a_revision_and_its_commit(served: Path) -> None:
    newest = load_hub_split(HubSource("someone/rows"), "train")
    assert (newest.rows, newest.source) == (INVENTED, "hub someone/rows train")
    assert newest.revision == commit(served / "someone" / "rows" / "main")
    pinned = load_hub_split(HubSource("someone/rows", revision="v1"), "train")
    assert (pinned.rows, pinned.revision) == (INVENTED[:1], commit(served / "someone" / "rows" / "v1"))
    with pytest.raises(HubError, match=r"Revision 'v9' doesn't exist for dataset 'someone/rows'"):
        load_hub_split(HubSource("someone/rows", revision="v9"), "train")


def test_a_slice_and_a_missing_split(served: Path) -> None:
    assert load_hub_split(HubSource("someone/rows"), "train[1:]").rows == INVENTED[1:]
    with pytest.raises(HubError, match=r"split dev, .*Unknown split \"dev\"\. Should be one of \['train'\]"):
        load_hub_split(HubSource("someone/rows"), "dev")


def test_a_script_is_read_from_its_conversion(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = load_hub_split(HubSource("someone/script"), "train")
    assert (table.rows, table.source) == (INVENTED, "hub someone/script train, converted to parquet")
    assert table.revision == commit(served / "someone" / "script" / "refs%2Fconvert%2Fparquet")
    assert "someone/script is published as a script: taking the hub's conversion" in capsys.readouterr().err
    assert load_hub_split(HubSource("someone/script", config="small"), "train").rows == INVENTED[:1]
    named = HubSource("someone/script", config="small", revision="refs/convert/parquet")
    assert load_hub_split(named, "train").rows == INVENTED[:1]
    assert not list(served.parent.glob("hub-cache/**/*.duckdb"))


def test_the_only_configuration_of_a_conversion_needs_no_name(served: Path) -> None:
    conversion = served / "someone" / "script" / "refs%2Fconvert%2Fparquet"
    shutil.rmtree(conversion / "default")
    assert load_hub_split(HubSource("someone/script"), "train").rows == INVENTED[:1]
    write_parquet(conversion / "large" / "train" / "0000.parquet", INVENTED)
    with pytest.raises(HubError, match="there is no configuration 'default'; valid: large, small"):
        load_hub_split(HubSource("someone/script"), "train")


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        (HubSource("someone/script"), "dev", r"Unknown split \"dev\"\. Should be one of .*'test'"),
        (HubSource("someone/script", config="big"), "train", "there is no configuration 'big'; valid: default, small"),
        (HubSource("someone/script", revision="main"), "train", "its revision main is a script, .*: give no revision"),
    ],
)
def test_what_a_conversion_does_not_have(served: Path, source: HubSource, split: str, message: str) -> None:
    with pytest.raises(HubError, match=message):
        load_hub_split(source, split)


def test_a_script_that_was_never_converted(served: Path) -> None:
    shutil.rmtree(served / "someone" / "script" / "refs%2Fconvert%2Fparquet")
    with pytest.raises(HubError, match=r"cannot load someone/script, .*Revision Not Found.* IA2_OFFLINE_DATASETS=DIR"):
        load_hub_split(HubSource("someone/script"), "train")


def test_a_warm_cache_needs_no_hub(served: Path, go_offline: Callable[[], None]) -> None:
    sources = [HubSource("someone/rows"), HubSource("someone/script"), HubSource("someone/script", config="small")]
    online = [load_hub_split(source, "train") for source in sources]
    shutil.rmtree(served)
    go_offline()
    offline = [load_hub_split(source, "train") for source in sources]
    assert [table.provenance for table in offline] == [table.provenance for table in online]
    assert load_hub_split(HubSource("someone/rows", revision=online[0].revision), "train").rows == INVENTED
    with pytest.raises(HubError, match=f"the cache has revision {online[0].revision}, not v1, which needs the hub"):
        load_hub_split(HubSource("someone/rows", revision="v1"), "train")


def test_a_cold_cache_names_every_remedy(served: Path, go_offline: Callable[[], None]) -> None:
    go_offline()
    with pytest.raises(HubError, match=r"Couldn't reach .*someone/script.* HF_ENDPOINT to a mirror.* is capitals"):
        load_hub_split(HubSource("someone/script", offline_task="capitals"), "train")
    assert not (served.parent / "hub-cache").exists()  # the hub was not asked
