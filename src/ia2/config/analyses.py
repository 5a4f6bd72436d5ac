"""Configs of the analyses of trained runs: whose activations are alike, whose updates overlap."""

from pydantic import Field

from ia2.config.selecting import AskingConfig, SelectionConfig


class SimilarityConfig(AskingConfig):
    """Compare activations with the teacher's, and between methods, on the teacher's responses: outputs/similarity/.

    What selects runs is a list of accepted values of a field of theirs; none given means all. Beside them always stand
    the controls: the base model without demonstrations, and a teacher that is shown other demonstrations.
    """

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens of the teacher's response at most (default: what the run was trained on)."""


class SubspaceConfig(SelectionConfig):
    """Compare the LoRA updates of runs, from their files alone: outputs/subspace/.

    What selects runs is a list of accepted values of a field of theirs; none given means all. Two runs are compared
    that differ in their method alone, or, as control, in their run index alone.
    """
