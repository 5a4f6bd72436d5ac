"""Every command by name: the config that its flags are generated from, and the function that does it.

The function is named, not imported, so that `ia2 --help` is instant. A new command is one entry here.
"""

from importlib import import_module

from ia2.config import (
    CleanConfig,
    Config,
    CreateConfig,
    DemoConfig,
    DeviceConfig,
    EvaluateConfig,
    FitConfig,
    MergeConfig,
    PlotAllConfig,
    PlotConfig,
    PredictConfig,
    PrepareConfig,
    ReparseConfig,
    ReportConfig,
    ResultsConfig,
    RunConfig,
    SimilarityConfig,
    StatusConfig,
    SubspaceConfig,
    SweepConfig,
    TablesConfig,
    TasksConfig,
    TrainConfig,
)
from ia2.errors import MachineError, ran_out_of_memory

COMMANDS: dict[str, tuple[type[Config], str]] = {
    "demo": (DemoConfig, "ia2.flows.demo:demo"),
    "fit": (FitConfig, "ia2.flows.fitting:fit_from"),
    "tasks": (TasksConfig, "ia2.flows.tasks:show_tasks"),
    "prepare": (PrepareConfig, "ia2.commands.data_files:prepare_all"),
    "create": (CreateConfig, "ia2.commands.data_files:create_all"),
    "train": (TrainConfig, "ia2.commands.train:train"),
    "sweep": (SweepConfig, "ia2.commands.sweep.sweep:sweep"),
    "evaluate": (EvaluateConfig, "ia2.commands.evaluate:evaluate"),
    "results": (ResultsConfig, "ia2.flows.results:gather"),
    "reparse": (ReparseConfig, "ia2.commands.reparse:reparse"),
    "tables": (TablesConfig, "ia2.flows.tables:tables"),
    "similarity": (SimilarityConfig, "ia2.commands.similarity:similarity"),
    "subspace": (SubspaceConfig, "ia2.commands.subspace:subspace"),
    "plot": (PlotConfig, "ia2.flows.plotting:plot"),
    "plot-all": (PlotAllConfig, "ia2.flows.plotting:plot_all"),
    "report": (ReportConfig, "ia2.flows.reporting:write_report"),
    "predict": (PredictConfig, "ia2.commands.predict:predict_from"),
    "merge": (MergeConfig, "ia2.commands.merge:merge_adapter"),
    "run": (RunConfig, "ia2.flows.experiments:run_experiment"),
    "status": (StatusConfig, "ia2.flows.status:status"),
    "clean": (CleanConfig, "ia2.flows.cleaning:clean"),
}
"""Subcommand -> its config, and `module:function`."""

SUBCOMMANDS: dict[str, type[Config]] = {name: config for name, (config, _) in COMMANDS.items()}

OUT_OF_MEMORY = "out of memory: train with --micro_batch_size 1, or use another --device or --device_map auto"

ADVICE = "ia2.flows.advising:advise_from"
"""What `ia2 evaluate --advise` does instead."""


def name_of(config: Config) -> str:
    """The subcommand that a config is of."""
    return next(name for name, kind in SUBCOMMANDS.items() if type(config) is kind)


def run(config: Config) -> None:
    """Do what a config says; only now is the rest imported. MachineError where memory runs out at it."""
    advises = isinstance(config, EvaluateConfig) and config.advise
    module, function = (ADVICE if advises else COMMANDS[name_of(config)][1]).split(":")
    if isinstance(config, DeviceConfig) and config.verify:
        import_module("ia2.sources").forget_digests()
    try:
        getattr(import_module(module), function)(config)
    except RuntimeError as error:  # torch's
        if not ran_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise MachineError(f"{OUT_OF_MEMORY} ({reason[:200]})") from None
