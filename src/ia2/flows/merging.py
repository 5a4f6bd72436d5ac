"""`ia2 merge`: an adapter folded into its base model."""

from ia2.commands.merge import MergeReport, merge
from ia2.config import MergeConfig, ModelConfig
from ia2.training.trained_run import read_trained_run


def merge_adapter(config: MergeConfig) -> MergeReport:
    """Write the merged model to `--out`, say what that changed, and return the figures."""
    trained = read_trained_run(config.adapter)
    dtype = trained.dtype if config.torch_dtype == "auto" else config.torch_dtype
    fields = {"model_id": config.model_id or trained.model_id, "torch_dtype": dtype, **config.placement()}
    report = merge(trained, ModelConfig.model_validate(fields), config.out)
    print(f"wrote {config.out}: {report}")
    return report
