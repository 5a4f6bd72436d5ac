"""Evaluation of 12 adapters on 500 short queries: ours beside loading the model once per adapter and asking one by one.

    python benchmarks/bench_evaluate.py

Ours is `ia2 evaluate` as it is, records and metrics included. The plain side is measured on a few adapters and queries
and scaled, which is said; the tokens that both predict are compared.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import pandas as pd
import plain

from ia2 import store
from ia2.config import EvaluateConfig, TrainConfig
from ia2.flows.evaluation import evaluate
from ia2.flows.training import train
from ia2.lm.loading import model_folder
from ia2.lm.shelf import Models
from ia2.tasks import task
from ia2.tasks.base import Example
from ia2.tasks.pool import Pool, pool_to_json

MODEL = "smollm2-135m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_adapters", type=int, default=12)
    parser.add_argument("--num_queries", type=int, default=500)
    parser.add_argument("--plain_adapters", type=int, default=2, help="adapters that the plain side is measured on")
    parser.add_argument("--plain_queries", type=int, default=60, help="queries that the plain side is measured on")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given)


def compare(root: Path, given: argparse.Namespace) -> None:
    """Train small adapters, then time both sides in turns and print medians."""
    questions = _write_dataset(root, given.num_queries)
    models = Models()
    runs = [train(_run(root, index), models) for index in range(given.num_adapters)]
    ours, theirs = [], []
    for _ in range(given.repeats):
        seconds, tokens = _ours(root, models)
        ours.append(seconds)
        seconds, found = _plain(runs[: given.plain_adapters], questions, given.plain_queries)
        theirs.append(seconds * given.num_adapters)
        for run, answers in found.items():
            assert tokens[run][: len(answers)] == answers, f"{run} is answered otherwise"
    fast, slow = median(ours), median(theirs)
    total = given.num_adapters * given.num_queries
    print(f"{given.num_adapters} adapters x {given.num_queries} queries, T=1, {MODEL}, median of {given.repeats}")
    print(f"ours   {fast:8.1f} s  {total / fast:8.1f} queries/s")
    print(
        f"plain  {slow:8.1f} s  {total / slow:8.1f} queries/s  (loading and {given.plain_queries} queries measured "
        f"for {given.plain_adapters} adapters, scaled)"
    )
    print(f"ratio  {slow / fast:8.1f}")


def _write_dataset(root: Path, num_queries: int) -> list[str]:
    """`past_tense` with most of its verbs for validation; returns the questions in order."""
    chosen = task("past_tense")
    rows = chosen.load()
    examples = [
        Example(index, chosen.spec.question(row), chosen.spec.answer(row))
        for index, row in enumerate([*rows.train, *rows.validation])
    ]
    pool = Pool(chosen.spec, tuple(examples[num_queries:]), tuple(examples[:num_queries]))
    store.write_json(store.pool_path(root, "past_tense"), pool_to_json(pool, {}))
    return [example.question for example in pool.validation]


def _run(root: Path, index: int) -> TrainConfig:
    return TrainConfig(
        root=root,
        training_method="tok",
        label_type="ground_truth",
        dataset="past_tense",
        model_id=MODEL,
        num_train_examples=4,
        num_train_epochs=2,
        num_generated_tokens=1,
        lr=1e-3,
        run_idx=index,
    )


def _ours(root: Path, models: Models) -> tuple[float, dict[str, list[str]]]:
    """Seconds, and what each adapter answers first; the base model is in memory, as after training."""
    for path in (root / "outputs").glob("evaluations/**/*.json"):
        path.unlink()
    config = EvaluateConfig(root=root, model_types=("tok",), model_id=MODEL, num_generated_tokens_eval=1)
    started = time.perf_counter()
    records = evaluate(config, models)
    seconds = time.perf_counter() - started
    tables = {path.name.split("__")[0]: pd.read_parquet(path.with_suffix(".parquet")) for path in records}
    return seconds, {name: table.sort_values("idx")["response"].tolist() for name, table in tables.items()}


def _plain(runs: list[Path], questions: list[str], num_measured: int) -> tuple[float, dict[str, list[str]]]:
    """Seconds of one adapter on all questions, scaled from those of the first `num_measured`; and their answers."""
    found, total = {}, 0.0
    for run in runs:
        started = time.perf_counter()
        base, tokenizer = plain.load(model_folder(MODEL)), plain.load_tokenizer(model_folder(MODEL))
        model = plain.with_adapter(base, run)
        loaded = time.perf_counter()
        ids = [tokenizer(question).input_ids for question in questions[:num_measured]]
        found[run.name] = [tokenizer.decode(plain.greedy(model, prompt, 1)) for prompt in ids]
        total += loaded - started + (time.perf_counter() - loaded) / num_measured * len(questions)
    return total / len(runs), found


if __name__ == "__main__":
    main()
