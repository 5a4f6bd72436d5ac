"""Prediction: texts and files in, answers and confidences out, and what is refused before anything is written."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from described import describe
from peft import PeftModel
from tiny import save_tiny_model
from tiny_runs import files_of, leftovers, training

from ia2.cli import main
from ia2.commands.predict import Prediction, predict_from
from ia2.commands.train import train
from ia2.config import ModelConfig, PredictConfig
from ia2.errors import UserError
from ia2.models.loading import ModelCache, load_model


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, models: ModelCache) -> Path:
    root = tmp_path_factory.mktemp("trained")
    return train(training(root, tiny_model_folder, training_method="tok", num_train_epochs=8, lr=0.05), models)


def predicted(adapter: Path, models: ModelCache, **fields: Any) -> list[Prediction]:
    return predict_from(PredictConfig(adapter=adapter, **fields), models)


def write_csv(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def test_an_answer_is_what_plain_peft_says(adapter: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    (prediction,) = predicted(adapter, models, text="France")
    lm = load_model(ModelConfig(model_id=str(tiny_model_folder)))
    plain = PeftModel.from_pretrained(lm.model, str(adapter))  # type: ignore[arg-type]
    ids = [lm.tokenizer.bos_token_id, *lm.tokenizer("Input: France\nOutput:", add_special_tokens=False).input_ids]
    tokens: list[int] = []
    confidence = 0.0
    for step in range(3):
        with torch.no_grad():
            probabilities = plain(torch.tensor([ids + tokens])).logits[0, -1].softmax(-1)
        confidence = confidence if step else probabilities.max().item()
        tokens.append(int(probabilities.argmax()))
    response = lm.tokenizer.decode(tokens, skip_special_tokens=True).split("\n\n")[0]
    assert prediction.response == response[: len(prediction.response)]
    assert response.startswith(prediction.response)
    assert prediction.confidence == pytest.approx(confidence, rel=1e-4)


def test_a_text_is_printed(adapter: Path, models: ModelCache, capsys: pytest.CaptureFixture[str]) -> None:
    (prediction,) = predicted(adapter, models, text="France")
    assert capsys.readouterr().out == f"{prediction.answer}\t{prediction.confidence:.3f}\n"


def test_a_file_gets_two_columns_more(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    rows = [["id", "country", "note"], ["1", "France", "a, b"], ["2", "Côte d'Ivoire", ""], ["3", "Spain", '"x"']]
    source, out = write_csv(tmp_path / "in.csv", rows), tmp_path / "new" / "out.csv"
    predictions = predicted(adapter, models, file=source, out=out)
    written = read_csv(out)
    assert written[0] == ["id", "country", "note", "answer", "confidence"]
    assert [row[:3] for row in written[1:]] == rows[1:]
    assert [row[3] for row in written[1:]] == [one.answer or "" for one in predictions]
    assert [float(row[4]) for row in written[1:]] == pytest.approx([one.confidence for one in predictions], abs=1e-6)
    assert leftovers(tmp_path) == []


def test_a_file_equals_its_texts(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    names = ["France", "Spain", "a much longer name of a country", "x"]
    together = predicted(adapter, models, file=write_csv(tmp_path / "in.csv", [["country"], *([n] for n in names)]))
    for name, prediction in zip(names, together, strict=True):
        (alone,) = predicted(adapter, models, text=name)
        assert (alone.answer, alone.response) == (prediction.answer, prediction.response)
        assert alone.confidence == pytest.approx(prediction.confidence, rel=1e-4)


def test_tabs_in_and_out(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("country\tpeople\nFrance\t68, or so\n", encoding="utf-8")
    predicted(adapter, models, file=tmp_path / "in.tsv", out=tmp_path / "out.tsv")
    header, row = (tmp_path / "out.tsv").read_text(encoding="utf-8").split("\n")[:2]
    assert header.split("\t") == ["country", "people", "answer", "confidence"]
    assert row.split("\t")[:2] == ["France", "68, or so"]


def test_the_ending_of_the_output_decides_whatever_its_case(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    predicted(adapter, models, file=write_csv(tmp_path / "in.csv", [["country"], ["Peru"]]), out=tmp_path / "OUT.TSV")
    assert (tmp_path / "OUT.TSV").read_text(encoding="utf-8").startswith("country\tanswer\tconfidence\nPeru\t")


COUNTRIES = [{"id": 1, "country": "France"}, {"id": None, "country": "Peru"}]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame(rows).astype({"id": "Int64"}).to_parquet(path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl"])
def test_other_files_of_rows_are_answered_alike(adapter: Path, models: ModelCache, tmp_path: Path, name: str) -> None:
    cells = [["id", "country"], ["1", "France"], ["", "Peru"]]
    predicted(adapter, models, file=write_csv(tmp_path / "in.csv", cells), out=tmp_path / "from_csv.csv")
    predicted(adapter, models, file=write_rows(tmp_path / name, COUNTRIES), out=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "from_csv.csv").read_bytes()


def test_rows_with_columns_of_their_own_keep_them(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    rows = [{"a": "x", "country": "France"}, {"country": "Peru", "b": "y"}]
    predicted(adapter, models, file=write_rows(tmp_path / "in.jsonl", rows), out=tmp_path / "out.csv")
    written = read_csv(tmp_path / "out.csv")
    assert [row[:3] for row in written] == [["a", "country", "b"], ["x", "France", ""], ["", "Peru", "y"]]


@pytest.mark.parametrize("blank", ["", " \t", "\n", None])
@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl", "in.csv"])
def test_a_row_without_a_text_is_named(adapter: Path, tmp_path: Path, name: str, blank: str | None) -> None:
    rows = [*COUNTRIES, {"id": 3, "country": blank}]
    if name == "in.csv":
        file = write_csv(tmp_path / name, [["country", "id"], ["Peru", ""], ["France", ""], [blank or "", "3"]])
    else:
        file = write_rows(tmp_path / name, rows)
    refuse(adapter, tmp_path, file, r"in\.\w+, row 3: no text in column 'country'; fill it or leave the row out")


def test_a_row_without_the_column_is_named(adapter: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "in.jsonl", [{"country": "Peru"}, {"id": 2}])
    refuse(adapter, tmp_path, file, "row 2: no text in column 'country'")


def refuse(adapter: Path, folder: Path, file: Path, says: str, out: str = "out.csv") -> None:
    """The file is refused before a model is loaded, and nothing is written."""
    unused, before = ModelCache(), files_of(folder)
    with pytest.raises(UserError, match=says):
        predicted(adapter, unused, file=file, out=folder / out)
    assert unused.num_loaded == 0
    assert files_of(folder) == before


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_a_blank_text_is_refused(adapter: Path, text: str) -> None:
    unused = ModelCache()
    with pytest.raises(UserError, match="the text is empty: give the country to answer with --text"):
        predicted(adapter, unused, text=text)
    assert unused.num_loaded == 0


def test_blank_lines_within_a_text_are_left_out(adapter: Path, models: ModelCache) -> None:
    (dense,) = predicted(adapter, models, text="France\nor Spain")
    assert predicted(adapter, models, text="\nFrance\n \n\nor Spain\n\n") == [dense]


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("folder", "folder is a folder; name a file in it"),
        ("out.parquet", r"out\.parquet: answers are written as CSV, or as TSV"),
        ("out.JSONL", r"out\.JSONL: answers are written as CSV"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_first(adapter: Path, tmp_path: Path, out: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    refuse(adapter, tmp_path, write_csv(tmp_path / "in.csv", [["country"], ["Peru"]]), says, out)


def with_task(adapter: Path, folder: Path, **changes: Any) -> Path:
    """The same adapter, its task changed."""
    copy = shutil.copytree(adapter, folder / "adapter")
    described = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    described["task"] |= changes
    describe(copy, described)
    return copy


def test_an_answer_of_a_closed_set_is_the_label(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    """However the model writes it, where the task's parser takes it for that label."""
    (plain,) = predicted(adapter, models, text="France")
    assert plain.answer is not None
    label = plain.answer.swapcase()
    assert label != plain.answer
    closed = with_task(adapter, tmp_path, labels={"other": "another", label: "said"}, parser="line")
    (prediction,) = predicted(closed, models, text="France")
    assert (prediction.answer, prediction.response) == (label, plain.response)


def test_confidence_in_a_closed_set_is_the_whole_label_s_share(
    adapter: Path, tiny_model_folder: Path, models: ModelCache, tmp_path: Path
) -> None:
    """Labels that begin with the same tokens, each scored by one plain forward over all its tokens and what ends it."""
    (free,) = predicted(adapter, models, text="France")
    assert free.answer is not None
    labels = {free.answer: "said", f"{free.answer} not": "another", f"{free.answer} so": "a third"}
    closed = with_task(adapter, tmp_path, labels=labels, parser="line")
    out = tmp_path / "out.csv"
    (prediction,) = predicted(closed, models, file=write_csv(tmp_path / "in.csv", [["country"], ["France"]]), out=out)
    lm = load_model(ModelConfig(model_id=str(tiny_model_folder)))
    plain = PeftModel.from_pretrained(lm.model, str(adapter))  # type: ignore[arg-type]

    def ids(text: str) -> list[int]:
        return list(lm.tokenizer(text, add_special_tokens=False).input_ids)

    def probability(label: str) -> float:
        prompt, response = [lm.tokenizer.bos_token_id, *ids("Input: France\nOutput:")], ids(f" {label}") + ids("\n\n")
        with torch.no_grad():
            logits = plain(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double()
        return float(logits.softmax(-1)[range(len(response)), response].prod())

    probabilities = [probability(label) for label in labels]
    assert prediction.confidence == pytest.approx(probabilities[0] / sum(probabilities), rel=1e-3)
    assert read_csv(out)[1][1:] == [free.answer, f"{prediction.confidence:.6f}"]


def test_a_response_that_is_no_label_has_no_confidence(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    closed, out = with_task(adapter, tmp_path, labels={"one": "", "two": ""}, parser="choice"), tmp_path / "out.csv"
    (prediction,) = predicted(closed, models, file=write_csv(tmp_path / "in.csv", [["country"], ["France"]]), out=out)
    assert (prediction.answer, prediction.confidence) == (None, None)
    assert read_csv(out)[1] == ["France", "", ""]


def test_every_column_of_a_query_needs_a_text(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    two = with_task(adapter, tmp_path, template="{place} in {year}:")
    with pytest.raises(UserError, match="needs the columns place, year: give them with --file"):
        predicted(two, ModelCache(), text="Peru")
    rows = [["place", "year"], ["Peru", "1900"], ["Peru", ""]]  # as training takes them
    assert len(predicted(two, models, file=write_csv(tmp_path / "in.csv", rows))) == 2
    refuse(two, tmp_path, write_csv(tmp_path / "in.csv", [*rows, ["", " "]]), "row 3: .* 'place', 'year'")
    refuse(two, tmp_path, write_csv(tmp_path / "in.csv", [["place"], ["Peru"]]), "no column 'year'")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["city"], ["Paris"]], r"no column 'country'; it has 'city'$"),
        ([["id", "COUNTRY"], ["1", "Peru"]], r"no column 'country'; it has 'id', 'COUNTRY' .*mean 'COUNTRY'"),
        ([["countries"], ["Peru"]], r"mean 'countries'"),
        ([["country", "answer", "predicted_answer"], ["France", "Paris", "Paris"]], "'answer' and 'predicted_answer'"),
        ([["country"]], "in.csv: the file has no rows"),
        ([], "in.csv"),
    ],
)
def test_what_a_file_has_to_be(adapter: Path, tmp_path: Path, rows: list[list[str]], says: str) -> None:
    refuse(adapter, tmp_path, write_csv(tmp_path / "in.csv", rows), says)


def test_a_missing_file_is_named(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv: no such file"):
        predicted(adapter, ModelCache(), file=tmp_path / "absent.csv")


def test_a_folder_that_is_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no trained adapter: it holds no adapter_config\.json"):
        predicted(tmp_path, ModelCache(), text="France")


@pytest.mark.parametrize("file", ["run.json", "adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_damaged_adapter_is_named(adapter: Path, models: ModelCache, tmp_path: Path, file: str, keep: float) -> None:
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=str(copy)):
        predicted(copy, models, text="France")
    predicted(adapter, models, text="France")


def test_a_config_of_something_else_is_named(adapter: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    describe(copy, {"config": {}})
    with pytest.raises(UserError, match=r"run\.json does not describe a run"):
        predicted(copy, ModelCache(), text="France")


def test_another_base_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(
        UserError, match=r"was trained on '.*', whose weights are not those of the '.*other' that is loaded"
    ):
        predicted(adapter, ModelCache(), text="France", model_id=str(other))


def test_a_base_model_that_has_moved_is_taken(adapter: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_model_folder, tmp_path / "elsewhere")
    assert predicted(adapter, ModelCache(), text="France", model_id=str(moved))


def test_a_text_longer_than_the_context_is_refused(adapter: Path, models: ModelCache) -> None:
    with pytest.raises(UserError, match="context holds 512"):
        predicted(adapter, models, text="x" * 600)


def test_rows_that_the_context_holds_are_answered(
    adapter: Path, models: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, out = ["France", "Peru", "x" * 600, "Spain"], tmp_path / "out.csv"
    file = write_csv(tmp_path / "in.csv", [["country"], *([name] for name in names)])
    assert main(["predict", "--adapter", str(adapter), "--file", str(file), "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert "wrote 3 answers" in told.out
    assert "1 of 4 rows" in told.err
    assert "row 3" in told.err
    header, *rows = read_csv(out)
    assert header == ["country", "answer", "confidence", "reason"]
    assert rows[2][1:3] == ["", ""]
    assert "512" in rows[2][3]
    for place in (0, 1, 3):
        (alone,) = predicted(adapter, models, text=names[place])
        assert rows[place][1] == (alone.answer or "")
        assert float(rows[place][2]) == pytest.approx(alone.confidence, abs=1e-5)
        assert rows[place][3] == ""


def test_rows_with_labels_are_answered_and_compared_with_them(
    adapter: Path, models: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very file that was learned from, whatever the column of its labels is called."""
    told = [predicted(adapter, models, text=name)[0].answer or "" for name in ("France", "Peru", "Chad")]
    capsys.readouterr()
    labelled = with_task(adapter, tmp_path, answer_template=" {answer}")
    cells = [["country", "answer"], ["France", told[0]], ["Peru", "something else"], ["Chad", ""]]
    out = tmp_path / "out.csv"
    predicted(labelled, models, file=write_csv(tmp_path / "in.csv", cells), out=out)
    header, *rows = read_csv(out)
    assert header == ["country", "answer", "predicted_answer", "confidence"]
    assert [row[:2] for row in rows] == cells[1:]
    assert [row[2] for row in rows] == told
    assert "1 of 2 " in capsys.readouterr().out


def test_columns_that_are_not_needed_may_hold_anything(adapter: Path, models: ModelCache, tmp_path: Path) -> None:
    rows = [{"country": "France", "meta": {"lang": "fr"}, "tags": ["a", 1]}, {"country": "Peru"}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    predicted(adapter, models, file=tmp_path / "in.jsonl", out=tmp_path / "out.csv")
    written = read_csv(tmp_path / "out.csv")
    assert [row[:3] for row in written[1:]] == [["France", '{"lang": "fr"}', '["a", 1]'], ["Peru", "", ""]]


def test_an_answer_of_several_lines_is_given_as_it_was_written(
    adapter: Path, models: ModelCache, tmp_path: Path
) -> None:
    (plain,) = predicted(adapter, models, text="France")
    exact = with_task(adapter, tmp_path, parser="exact", labels={}, answer_template="{capital}")
    assert predicted(exact, models, text="France")[0].answer == plain.response.rstrip()


def test_a_gpu_that_is_not_there_is_refused(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="device='cuda': this machine has 0 CUDA devices; use --device auto or cpu"):
        predicted(adapter, ModelCache(), text="France", device="cuda")
