"""A grid for a CPU: the embedded model on the tables that come with ia2.

ia2 run experiments/small.py:grid                     about an hour on two cores; goes on where it was stopped
ia2 run experiments/small.py:grid --only capitals
"""

from ia2.config import Config, EvaluateConfig, PlotAllConfig, SweepConfig

MODEL = "smollm2-135m"
EVALUATED = {"capitals": ("capitals", "capitals_rare"), "past_tense": ("past_tense", "past_tense_irregular")}


def grid() -> list[Config]:
    """{tok, act, a2t, tna, tokl} x 3 learning rates x 2 runs with 8 labels, evaluated in and out of distribution."""
    stages = (_training, _evaluation, _plots)
    return [stage(dataset) for dataset in EVALUATED for stage in stages]


def _training(dataset: str) -> SweepConfig:
    return SweepConfig(
        training_methods=("tok", "act", "a2t", "tna", "tokl"),
        datasets=(dataset,),
        model_id=MODEL,
        num_train_examples=(8,),
        lrs=(1e-4, 3e-4, 1e-3),
        run_indices=(0, 1),
        ce_loss_weights=(0.1,),
    )


def _evaluation(dataset: str) -> EvaluateConfig:
    return EvaluateConfig(
        trained_datasets=(dataset,),
        eval_datasets=EVALUATED[dataset],
        icl_source_datasets=(dataset,),
        icl_max_demos=8,
        model_id=MODEL,
        num_examples=(8,),
        uncertainty_analysis=True,
    )


def _plots(dataset: str) -> PlotAllConfig:
    return PlotAllConfig(trained_datasets=(dataset,), model_id=MODEL)
