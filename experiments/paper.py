"""The paper's grids (arXiv 2509.22621, section 2 of its protocol), as published: last step's weights, fresh
demonstrations for every query, hyper-parameters by performance.

    ia2 run experiments/paper.py:table1 --dry_run         what would be done
    ia2 run experiments/paper.py:table1 --only sst2       one dataset of it

Qwen3-4B-Base needs a GPU. LoRA r=8 on q, k, o; (IA)3 the same; 20 virtual tokens; batch 4, at most 50 epochs.
"""

from ia2.config import Config, EvaluateConfig, PlotAllConfig, PrepareConfig, SweepConfig

QWEN, LLAMA = "Qwen/Qwen3-4B-Base", "meta-llama/Llama-3.2-1B"
RUNS = (0, 1, 2, 3, 4)
LRS = (1e-4, 3e-4, 1e-3)
EVALUATED: dict[str, tuple[str, ...]] = {
    "sst2": ("sst2", "finsen", "poems"),
    "finsen": ("finsen", "sst2", "poems"),
    "agnews": ("agnews", "bbcnews"),
    "sciq_remap": ("sciq_remap", "qasc_remap"),
    "strategytf": ("strategytf",),
    "gsm8k": ("gsm8k", "gsm8ks"),
    "hmath_algebra": ("hmath_algebra",),
    "sciqa": ("sciqa",),
}
"""Trained on -> evaluated on; all but the first are out of distribution."""

NUM_TOKENS = {"gsm8k": 200, "hmath_algebra": 400, "sciqa": 200}
"""Tokens to generate; one for all others, the remapped ones included."""


def table1() -> list[Config]:
    """SFT, IA2 and IA2 -> SFT with N = 4 on Qwen3-4B, and the model's own few-shot accuracy beside them."""
    return [config for dataset in EVALUATED for config in _grid(dataset, QWEN, ("tok", "act", "a2t"), (4,))]


def sample_efficiency() -> list[Config]:
    """The same methods from 2 to 128 labels (16 where an answer is many tokens)."""
    few, many = (2, 4, 8, 16), (2, 4, 8, 16, 32, 64, 128)
    return [
        config
        for dataset in EVALUATED
        for config in _grid(dataset, QWEN, ("tok", "act", "a2t"), few if dataset in NUM_TOKENS else many)
    ]


def joint() -> list[Config]:
    """IA2 and SFT at once (`tna`), with the weights that each model was tried with."""
    weights = {LLAMA: (0.001, 0.01, 0.05, 0.5), QWEN: (0.1, 0.5, 0.7, 0.9)}
    return [
        config.model_copy(update={"ce_loss_weights": weights[model]}) if isinstance(config, SweepConfig) else config
        for model in weights
        for config in _grid("sst2", model, ("tna",), (8,))
    ]


def adapters() -> list[Config]:
    """(IA)3, prompt and prefix tuning on SST-2 and SciQr."""
    ia3 = ("ia3-tok", "ia3-act", "ia3-a2t")
    virtual = tuple(f"{adapter}-{variant}" for adapter in ("prompt", "prefix") for variant in ("tok", "act", "a2t"))
    grids = [_grid(dataset, QWEN, methods, (4,)) for dataset in ("sst2", "sciq_remap") for methods in (ia3, virtual)]
    return [
        config.model_copy(update={"lrs": (1e-3, 1e-2, 1e-1), "ia3_types": ("qko",)})
        if isinstance(config, SweepConfig) and config.training_methods == ia3
        else config
        for grid in grids
        for config in grid
    ]


def _grid(dataset: str, model_id: str, methods: tuple[str, ...], sizes: tuple[int, ...]) -> list[Config]:
    """Prepare, train, evaluate and plot one dataset."""
    num_tokens = NUM_TOKENS.get(dataset, 1)
    return [
        PrepareConfig(datasets=EVALUATED[dataset]),
        SweepConfig(
            training_methods=methods,
            datasets=(dataset,),
            model_id=model_id,
            num_train_examples=sizes,
            num_generated_tokens=(num_tokens,),
            lrs=LRS,
            run_indices=RUNS,
            lora_types=("qko",),
            label_types=("ground_truth", "icl_outputs"),
            protocol="published",
        ),
        EvaluateConfig(
            model_types=("base", *methods),
            trained_datasets=(dataset,),
            eval_datasets=EVALUATED[dataset],
            icl_source_datasets=(dataset,),
            icl_max_demos=max(sizes),
            model_id=model_id,
            num_examples=sizes,
            num_generated_tokens_eval=num_tokens,
            uncertainty_analysis=True,
            protocol="published",
        ),
        PlotAllConfig(
            trained_datasets=(dataset,),
            eval_datasets=EVALUATED[dataset],
            icl_source_datasets=(dataset,),
            icl_max_demos=(max(sizes),),
            model_id=model_id,
            hp_selection="performance",
        ),
    ]
