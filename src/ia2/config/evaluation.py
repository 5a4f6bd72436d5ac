"""Config of evaluation."""

from typing import ClassVar

from pydantic import Field

from ia2.config.base import Control, Protocol, StopRule
from ia2.config.selecting import AskingConfig


class EvaluateConfig(AskingConfig):
    """Evaluate the base model and trained runs: outputs/evaluations/.

    What selects runs is a list of accepted values of a field of theirs; none given means all. A run whose method has no
    such field passes.
    """

    not_in_run_id: ClassVar[frozenset[str]] = AskingConfig.not_in_run_id | {"dry_run"}

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens to generate (default: what the task declares, else 1)."""
    eval_with_icl: bool = False
    """Evaluate trained runs with demonstrations too."""
    uncertainty_analysis: bool = False
    """Add top-k accuracy, entropy, uncertainty and label-set measures."""
    stop: StopRule = "separator"
    """Where a response ends."""
    control: Control = "none"
    """wrong_labels: demonstrations with wrong answers, to see what a model takes from them."""
    chat_template: bool = False
    """Render prompts as turns of the model's chat template (for the base model; a trained run has its own setting)."""
    protocol: Protocol = "default"
    """published: icl_pool=remaining."""
    dry_run: bool = False
    """Print what matches, what is done and what would run, and stop."""
    advise: bool = False
    """Say which method is reasonable, from the records or by measuring."""
