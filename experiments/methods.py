"""All 24 methods on the embedded model and `capitals`, N = 8, one run: the table in docs/methods.md.

    python experiments/methods.py            (about a quarter of an hour on two cores; goes on where it was stopped)

Each adapter has one learning rate, the same for its six variants; `tok` phases learn the dataset's answers, `tokl`,
`act` and `tna` the teacher's. One run of 54 queries has a standard error of about 6 points: the table shows that all
methods work, not which is best.
"""

from importlib.metadata import version
from pathlib import Path

import ia2
from ia2.config import LabelType
from ia2.methods import METHODS, Adapter, Method
from ia2.results.records import Record, read_results

ROOT = Path("methods-table")
TABLE = Path(__file__).parents[1] / "docs" / "methods.md"
LEARNING_RATES: dict[Adapter, float] = {"lora": 1e-3, "ia3": 1e-2, "prompt": 1e-2, "prefix": 1e-2}


def training(name: str, method: Method) -> ia2.TrainConfig:
    label_type: LabelType = "icl_outputs" if method.variant in ("tokl", "tna", "act") else "ground_truth"
    return ia2.TrainConfig(
        root=ROOT,
        training_method=name,
        dataset="capitals",
        model_id="smollm2-135m",
        num_train_examples=8,
        lr=LEARNING_RATES[method.adapter],
        label_type=label_type,
    )


def evaluation() -> ia2.EvaluateConfig:
    return ia2.EvaluateConfig(root=ROOT, eval_datasets=("capitals",), model_id="smollm2-135m", icl_max_demos=8)


def row(record: Record) -> str:
    metrics, train, run = record.metrics, record.train, record.run
    assert train is not None
    assert run is not None
    cells = [f"`{record.method}`", f"{run.lr:g}", f"{train.trainable_parameters:,}", str(train.num_steps)]
    cells += [f"{train.seconds:.0f}", f"{metrics['without_icl_accuracy']:.1f}"]
    cells += [f"{metrics['without_icl_ece_equal_count']:.3f}"]
    return f"| {' | '.join(cells)} |"


def document(records: list[Record]) -> str:
    by_method = {record.method: record for record in records}
    base = by_method["base"].metrics
    lines = [
        "# All 24 methods",
        "",
        "Made by `python experiments/methods.py`: SmolLM2-135M (embedded, 4-bit weights dequantised), `capitals`,",
        f"N = 8, T = 8, run 0, 54 queries, torch {version('torch')} on a CPU. The base model answers",
        f"{base['without_icl_accuracy']:.1f}% without demonstrations, and {base['with_icl_accuracy']:.1f}% with the 8"
        f" (ECE {base['with_icl_ece_equal_count']:.3f}).",
        "",
        "Accuracy is exact match of the first line, without demonstrations; its standard error is about 6 points, so",
        "the table shows that all methods work, not which is best. ECE is of the first answer token, 15 equal-count",
        "bins. Seconds are those of the method's last phases, after targets and any first phase, on a machine with",
        "other work.",
        "",
        "| method | lr | parameters | steps | seconds | accuracy % | ECE |",
        "|---|---|---|---|---|---|---|",
        *(row(by_method[name]) for name in METHODS),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    models = ia2.Models()
    for name, method in METHODS.items():
        print(f"{name} ...", flush=True)
        ia2.train(training(name, method), models)
    ia2.evaluate(evaluation(), models)
    TABLE.write_text(document(list(read_results(ROOT).records)), encoding="utf-8")
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
