import json
import math

import pytest
from described import describe
from made_up import MadeUpStore, config, settings, training

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.results.frame import aggregate
from ia2.results.records import examine_records
from ia2.results.runs import TrainedRun, examine_runs, read_history, read_runs
from ia2.results.select import choose, select


def runs_with(losses: dict[float, list[float | None]], method: str = "act", **changes: object) -> list[TrainedRun]:
    return [
        TrainedRun(config(method, run_idx, lr, **changes), loss)
        for lr, values in losses.items()
        for run_idx, loss in enumerate(values)
    ]


def test_the_lowest_mean_dev_loss_wins_and_not_the_lowest_single_one() -> None:
    # means: 0.4 against (0.1 + 0.9) / 2 = 0.5
    (choice,) = choose(runs_with({1e-3: [0.4, 0.4], 3e-4: [0.1, 0.9]}))
    assert choice.chosen.lr == 1e-3
    assert [candidate.dev_loss for candidate in choice.candidates] == pytest.approx([0.5, 0.4])
    assert choice.rule == "0.001, of lowest mean dev loss over 2 runs among 0.0003, 0.001"


def test_every_cell_chooses_for_itself_and_cells_are_compared_by_fields() -> None:
    runs = runs_with({1e-3: [0.1], 3e-4: [0.2]}) + runs_with({1e-3: [0.2], 3e-4: [0.1]}, lora_r=16)
    runs += runs_with({1e-3: [0.3], 3e-4: [0.4]}, dataset="gsm8k") + runs_with(
        {1e-3: [0.9], 3e-4: [0.1]}, dataset="gsm8ks"
    )
    assert [choice.chosen.lr for choice in choose(runs)] == [1e-3, 3e-4, 1e-3, 3e-4]


def test_a_tie_goes_to_the_smaller_learning_rate_and_a_diverged_run_never_wins() -> None:
    assert choose(runs_with({1e-3: [0.5], 3e-4: [0.5]}))[0].chosen.lr == 3e-4
    assert choose(runs_with({3e-4: [math.nan], 1e-3: [0.5]}))[0].chosen.lr == 1e-3


def test_candidates_with_different_runs_are_an_error_that_names_what_is_missing() -> None:
    runs = runs_with({1e-3: [0.4, 0.4, 0.4], 3e-4: [0.1]})
    with pytest.raises(UserError, match=r"act on capitals \(N=8\): lr=0.0003 lacks run_idx 1, 2"):
        choose(runs)


def test_as_many_runs_are_not_the_same_runs() -> None:
    runs = [TrainedRun(config("act", 0, 1e-3), 0.1), TrainedRun(config("act", 1, 3e-4), 0.1)]
    with pytest.raises(UserError, match="lacks run_idx"):
        choose(runs)


def test_without_a_dev_loss_there_is_no_choice_but_one_candidate_needs_none() -> None:
    with pytest.raises(UserError, match="no dev loss"):
        choose(runs_with({1e-3: [0.4, None], 3e-4: [0.1, 0.2]}))
    (choice,) = choose(runs_with({1e-3: [None, None]}))
    assert choice.rule == "0.001, the only one trained"


def tna(lr: float, weight: float, tok: float | None, dev_loss: float, run_idx: int = 0) -> TrainedRun:
    settled = config("tna", run_idx, lr, label_type="icl_outputs", ce_loss_weight=weight)
    return TrainedRun(settled, dev_loss, None, None if tok is None else {"act": 1.0, "tok": tok})


def test_tna_is_chosen_over_rate_and_weight_by_the_cross_entropy_and_not_by_its_own_loss() -> None:
    """Its own loss is least where the weight of the larger of its two losses is."""
    runs = [tna(1e-3, 0.1, 0.9, 0.1), tna(1e-3, 0.5, 0.4, 5.0), tna(3e-4, 0.1, 0.6, 0.2), tna(3e-4, 0.5, 0.7, 6.0)]
    (choice,) = choose(runs)
    assert [choice.accepts(run.config) for run in runs] == [False, True, False, False]
    assert choice.rule == (
        "0.001 with ce_loss_weight 0.5, of lowest mean dev cross-entropy on the teacher's tokens over 1 run among "
        "0.0003 with ce_loss_weight 0.1, 0.0003 with ce_loss_weight 0.5, 0.001 with ce_loss_weight 0.1, "
        "0.001 with ce_loss_weight 0.5"
    )
    assert choice.chosen.dev_loss == 0.4


def test_the_other_methods_are_chosen_by_their_own_loss() -> None:
    apart = [({"act": 9.0}, 0.1, 1e-3), ({"act": 0.1}, 0.2, 3e-4)]
    runs = [TrainedRun(config("act", 0, lr), loss, None, parts) for parts, loss, lr in apart]
    assert choose(runs)[0].chosen.lr == 1e-3


def test_candidates_of_tna_need_the_same_runs_and_their_cross_entropy() -> None:
    some = [tna(1e-3, 0.1, 0.9, 0.1), tna(1e-3, 0.5, 0.4, 5.0), tna(1e-3, 0.1, 0.9, 0.1, run_idx=1)]
    with pytest.raises(UserError, match=r"lr=0\.001 with ce_loss_weight 0\.5 lacks run_idx 1"):
        choose(some)
    with pytest.raises(
        UserError, match=r"ce_loss_weight 0\.5 has no dev cross-entropy .* --retrain runs that are older"
    ):
        choose([tna(1e-3, 0.1, 0.9, 0.1), tna(1e-3, 0.5, None, 5.0)])
    assert choose([tna(1e-3, 0.5, None, 5.0)])[0].rule == "0.001 with ce_loss_weight 0.5, the only one trained"


def test_the_losses_of_a_run_are_read_from_its_folder_or_its_record(store: MadeUpStore) -> None:
    of_folder, of_record = (tna(1e-3, weight, None, 0.5).config for weight in (0.1, 0.5))
    folder = store.run(config("act"), 0.5)
    (folder / "final_loss_statistics.json").write_text(
        json.dumps({**training(0.5), "dev_losses": {"act": 2, "tok": 3}})
    )
    describe(folder, {"config": of_folder.relevant_fields()})
    store.adapter(of_record, 60.0, 0.5, train={**training(0.5), "dev_losses": {"act": 4.0, "tok": 5.0}})
    store.adapter(config("tok"), 60.0, 0.25)
    losses = {run.config.ce_loss_weight: run.selection_loss for run in read_runs(store.root, records_of(store))}
    assert losses == {0.1: 3, 0.5: 5, config("tok").ce_loss_weight: 0.25}


def test_runs_are_read_from_folders_and_from_records_without_one(store: MadeUpStore) -> None:
    store.run(config("act", 0), 0.5)
    store.run(config("act", 1, keep="last"), 0.5)
    store.adapter(config("act", 0), 60.0, 0.7)
    store.adapter(config("tok", 0), 60.0, 0.3)
    runs = {(run.config.training_method, run.config.run_idx): run for run in read_runs(store.root, records_of(store))}
    # the folder's loss counts where there is one; keep=last saves the last weights, whose loss is 1.5 times the best
    assert {key: run.dev_loss for key, run in runs.items()} == {("act", 0): 0.5, ("act", 1): 0.75, ("tok", 0): 0.3}
    assert runs["tok", 0].folder is None


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {"training_method": "act", "lr": "fast"}}'])
def test_a_damaged_run_folder_is_named_and_left_out(store: MadeUpStore, text: str) -> None:
    whole, folder = store.run(config("tok"), 0.5), store.run(config("act"), 0.5)
    (folder / "run.json").write_text(text)
    examined = examine_runs(store.root)
    assert [run.folder for run in examined.found] == [whole]
    assert [problem.path for problem in examined.problems] == [folder]


def test_history_keeps_what_a_line_lacks_missing(store: MadeUpStore) -> None:
    folder = store.run(config("a2t"), 0.5)
    history = read_history(TrainedRun(config("a2t"), 0.5, folder))
    assert list(history["phase"].unique()) == ["act", "tok"]
    assert (history["train_loss"].isna() ^ history["dev_loss"].isna()).all()
    (folder / "history.jsonl").write_text('{"step": 2, "pha')
    with pytest.raises(UserError, match=r"history\.jsonl"):
        read_history(TrainedRun(config("a2t"), 0.5, folder))


def records_of(store: MadeUpStore) -> tuple:
    return examine_records(store.root).found


def selected(store: MadeUpStore) -> object:
    return select(records_of(store), read_runs(store.root, records_of(store)))


def test_evaluation_scores_do_not_choose(store: MadeUpStore) -> None:
    store.adapter(config("act", 0, 3e-4), 90.0, 0.8)
    store.adapter(config("act", 0, 1e-3), 10.0, 0.5)
    assert [record.run.lr for record in selected(store).records] == [1e-3]


def test_one_choice_holds_for_every_evaluation_set(store: MadeUpStore) -> None:
    for dataset, good in (("capitals", 1e-3), ("cities", 3e-4)):
        for lr, loss in ((3e-4, 0.8), (1e-3, 0.5)):
            accuracy = 90.0 if lr == good else 10.0
            store.adapter(config("act", 0, lr), accuracy, loss, eval=settings(eval_dataset=dataset))
    kept = selected(store).records
    assert {record.settings.eval_dataset for record in kept} == {"capitals", "cities"}
    assert {record.run.lr for record in kept} == {1e-3}


def test_candidates_that_were_trained_and_not_evaluated_count(store: MadeUpStore) -> None:
    for lr, loss in ((3e-4, 0.8), (1e-3, 0.5)):
        store.run(config("act", 0, lr), loss)
    store.adapter(config("act", 0, 1e-3), 60.0, 0.5)
    assert "among 0.0003, 0.001" in selected(store).choices[0].rule


def test_an_unfinished_sweep_that_was_never_evaluated_is_no_error(store: MadeUpStore) -> None:
    store.adapter(config("act", 0), 60.0, 0.5)
    for run in ((0, 1e-3), (1, 1e-3), (0, 3e-4)):
        store.run(config("tok", *run), 0.5)
    assert len(selected(store).choices) == 1


def test_aggregate_by_hand(store: MadeUpStore) -> None:
    for run_idx, accuracy in enumerate((60.0, 65.0, 85.0)):
        store.adapter(config("act", run_idx), accuracy, 0.5, eval=settings(run_idx=run_idx))
    row = aggregate(selected(store)).set_index("metric").loc["accuracy"]
    # mean 70; deviations -10, -5, 15: sd = sqrt((100 + 25 + 225) / 2) = sqrt(175)
    assert row["mean"] == pytest.approx(70.0)
    assert row["sd"] == pytest.approx(math.sqrt(175))
    assert (row["n"], row["values"]) == (3, (60.0, 65.0, 85.0))
    assert row["rule"] == "0.001, the only one trained"


def test_one_run_has_no_spread(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    table = aggregate(selected(store))
    assert table["sd"].isna().all()
    assert (table["n"] == 1).all()


@pytest.mark.parametrize("changes", [{"lora_r": 16}, {"patience": 6}, {"num_train_examples": 4}, {"stop": "eos"}])
def test_different_training_is_never_pooled(store: MadeUpStore, changes: dict) -> None:
    store.adapter(config("act", 0), 60.0, 0.5)
    store.adapter(config("act", 1, **changes), 70.0, 0.5, eval=settings(run_idx=1))
    accuracies = aggregate(selected(store)).query("metric == 'accuracy' and not with_icl")
    assert sorted(accuracies["mean"]) == [60.0, 70.0]


@pytest.mark.parametrize(
    "changes", [{"icl_max_demos": 4}, {"num_generated_tokens_eval": 1}, {"num_eval_examples": 5}, {"new_field": 1}]
)
def test_different_evaluation_is_never_pooled(store: MadeUpStore, changes: dict) -> None:
    store.base((0.0, 75.0))
    store.base((0.0, 65.0), run_idx=1, eval=settings(run_idx=1, **changes))
    accuracies = aggregate(selected(store)).query("metric == 'accuracy' and with_icl")
    assert sorted(accuracies["mean"]) == [65.0, 75.0]


def test_the_same_run_twice_is_an_error(store: MadeUpStore) -> None:
    first, second = store.base((0.0, 75.0)), store.base((0.0, 65.0))
    with pytest.raises(UserError, match="same run and settings") as caught:
        aggregate(selected(store))
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


@pytest.mark.parametrize("with_uncertainty", [(0,), (1,), (0, 1)])
def test_runs_with_and_without_uncertainty_are_runs_of_one_configuration(
    store: MadeUpStore, with_uncertainty: tuple
) -> None:
    for run_idx, accuracy in enumerate((60.0, 70.0)):
        for uncertain in {False, run_idx in with_uncertainty}:
            asked = settings(run_idx=run_idx, uncertainty_analysis=uncertain)
            store.adapter(config("act", run_idx), accuracy, 0.5, eval=asked)
    row = aggregate(selected(store)).query("metric == 'accuracy' and not with_icl").iloc[0]
    assert (row["mean"], row["n"], row["values"]) == (65.0, 2, (60.0, 70.0))


def test_a_choice_accepts_its_own_runs_only() -> None:
    (choice,) = choose(runs_with({1e-3: [0.1], 3e-4: [0.2]}))
    asked: list[TrainConfig] = [
        config("act", 7),
        config("act", 7, 3e-4),
        config("tok", 7),
        config("act", lora_alpha=16),
    ]
    assert [choice.accepts(one) for one in asked] == [True, False, False, False]
    assert json.loads(choice.cell)["training_method"] == "act"


def test_the_published_protocol_picks_on_each_evaluation_set_and_says_so(store: MadeUpStore) -> None:
    """By dev loss 3e-4 would be chosen for both sets; by accuracy 1e-3 on the one and 3e-4 on the other."""
    for lr, dev_loss, here, there in ((3e-4, 0.1, 50.0, 60.0), (1e-3, 0.9, 70.0, 40.0)):
        store.adapter(config("act", 0, lr), here, dev_loss)
        store.adapter(config("act", 0, lr), there, dev_loss, eval=settings(eval_dataset="elsewhere"))
    records = records_of(store)
    chosen = select(records, read_runs(store.root, records), "performance")
    kept = {(r.settings.eval_dataset, r.run.lr) for r in chosen.records if r.run}
    assert kept == {("capitals", 1e-3), ("elsewhere", 3e-4)}
    assert all("on this very evaluation set (as published)" in choice.rule for choice in chosen.choices)
    assert set(aggregate(chosen)["hp_selection"]) == {"performance"}
    assert all(chosen.rule_of(record) for record in chosen.records)
