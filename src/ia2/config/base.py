"""What all configs share: how they are checked, compared and written as a command line; and the words they use."""

import os
import shlex
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from ia2.errors import UserError

DEFAULT_MODEL_ID = "Qwen/Qwen3-4B-Base"


CONTINUE_SAME = "same"
"""What --continue_training stands for without a value."""


LabelType = Literal["ground_truth", "icl_outputs"]


StopRule = Literal["separator", "eos", "published"]


Control = Literal["none", "wrong_labels"]


Protocol = Literal["default", "published"]


HpSelection = Literal["dev_loss", "performance"]


DemoType = Literal["unique", "fixed", "shuffled"]


Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class Config(BaseModel):
    """Base of all configs.

    `incidental` names the fields that do not change a result and so enter no name; `aliases` are flags that the
    command line takes as well: another spelling -> field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
    incidental: ClassVar[frozenset[str]] = frozenset({"root"})
    aliases: ClassVar[dict[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _plainly(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Tell what is wrong in one line instead of pydantic's several."""
        try:
            return validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            valid = ", ".join(cls.model_fields) if first["type"] == "extra_forbidden" else ""
            more = f" (fields: {valid})" if valid else ""
            raise UserError(f"{field}={first['input']!r}: {first['msg']}{more}") from None

    root: Path | None = None
    """Folder that holds data, outputs, plots and reports (default: $IA2_ROOT, else the current folder)."""

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.incidental))

    def command(self, subcommand: str) -> str:
        """The command line that gives this config."""
        words = ["ia2", subcommand]
        for key, value in self.changed().items():
            values = value if isinstance(value, list) else [value]
            words += [f"--{key}", *(shlex.quote(str(one)) for one in values if one is not True)]
        return " ".join(words)

    def changed(self) -> dict[str, Any]:
        """The fields of `identity` that are not at their default."""
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.identity().items()
            if getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }


class ModelConfig(Config):
    """Which model answers, and on what."""

    incidental: ClassVar[frozenset[str]] = Config.incidental | {"device"}

    model_id: str = Field(default_factory=lambda: os.environ.get("IA2_MODEL_ID", DEFAULT_MODEL_ID))
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""
    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def base_model(self) -> "ModelConfig":
        """The part that says which model, for instance as a key to the one that is loaded."""
        return ModelConfig(model_id=self.model_id, torch_dtype=self.torch_dtype, device=self.device)
