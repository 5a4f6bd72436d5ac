"""Small data sets in the hub's schema. Every row here is invented for the tests, none is quoted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ia2.sources import hub as hub_source

Objects = Sequence[Mapping[str, object]]

INVENTED_SST2: dict[str, Objects] = {
    "train": [
        {"idx": 0, "sentence": "a gripping and generous film ", "label": 1},
        {"idx": 1, "sentence": "two hours of {empty} noise ", "label": 0},
    ],
    "validation": [{"idx": 0, "sentence": "it 's neither warm nor funny . ", "label": 0}],
}
INVENTED_GSM8K: dict[str, Objects] = {
    "train": [
        {
            "question": "Ann has 3 apples and buys 2. How many has she?",
            "answer": "She has 3+2=<<3+2=5>>5 apples.\n#### 5",
        },
        {
            "question": "A pit.\n\nHow deep? ",
            "answer": "It is dug 1,000 m down.\n\nSo below ground: -1000 \n#### -1,000",
        },
    ],
    "test": [{"question": "Half of 33?", "answer": "33/2=<<33/2=16.5>>16.5\n#### 16.5"}],
}
INVENTED_BBCNEWS: dict[str, Objects] = {
    "train": [
        {"text": "striker signs  new deal the club said", "label": 2, "label_text": "sport"},
        {"text": "film wins prize", "label": 3, "label_text": "entertainment"},
    ],
    "test": [{"text": "shares fall", "label": 1, "label_text": "business"}],
}


def write_parquet(path: Path, rows: Objects) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """IA2_OFFLINE_DATASETS: one data set as parquet, two as jsonl."""
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    for split, rows in INVENTED_SST2.items():
        write_parquet(tmp_path / "stanfordnlp__sst2" / f"{split}.parquet", rows)
    for name, data in (("openai__gsm8k__main", INVENTED_GSM8K), ("SetFit__bbc-news", INVENTED_BBCNEWS)):
        (tmp_path / name).mkdir()
        for split, rows in data.items():
            (tmp_path / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def hub_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder holds repositories laid out as on the hub, which `datasets` loads with its own code."""
    import datasets  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IA2_OFFLINE_DATASETS", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(hub_source, "hub_resolves", lambda _: False)
    for split, rows in INVENTED_SST2.items():
        write_parquet(tmp_path / "stanfordnlp" / "sst2" / "data" / f"{split}-00000-of-00001.parquet", rows)
    gsm8k = tmp_path / "openai" / "gsm8k"
    for split, rows in INVENTED_GSM8K.items():
        write_parquet(gsm8k / "main" / f"{split}-00000-of-00001.parquet", rows)
    files = [f"  - split: {split}\n    path: main/{split}-*\n" for split in INVENTED_GSM8K]
    (gsm8k / "README.md").write_text(f"---\nconfigs:\n- config_name: main\n  data_files:\n{''.join(files)}---\n")
    return tmp_path
