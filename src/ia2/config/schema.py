"""The base of all configs: checks, comparison and the command line; and the words that fields take."""

import os
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from ia2.errors import UserError

DEFAULT_MODEL_ID = "Qwen/Qwen3-4B-Base"
EMBEDDED_MODEL = "smollm2-135m"
"""The model whose weights come from the package index, in 4 bits."""
CONTINUE_SAME = "same"
"""Value of --continue_training without one."""
StopRule = Literal["separator", "eos", "published"]
Control = Literal["none", "wrong_labels"]
Protocol = Literal["default", "published"]
HpSelection = Literal["dev_loss", "performance"]
DemoType = Literal["unique", "fixed", "shuffled"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

LONGEST_PART = 200
"""Bytes: file systems take 255, of which prefixes, endings and temporary names need some."""
MEMORY_LIMIT = r"(\d+|cpu)=\d+(\.\d+)?[KMG]i?B"
"""Form of one value of --max_memory."""
LARGEST = 2**63 - 1
"""Largest number of a tensor, a seed and a column of a table."""
NO_TEXT, CONTROLS = re.compile("[\0\ud800-\udfff]"), re.compile("[\0-\x1f\x7f\ud800-\udfff]")
"""Characters that no text holds, half of one among them, and that no path should."""


def absolute_model_id(model_id: str) -> str:
    """A folder or file that exists here by its absolute path, so that it is found from elsewhere; an id unchanged."""
    is_path = model_id != EMBEDDED_MODEL and os.path.exists(model_id)  # noqa: PTH110 - where Path raises for long names
    return os.path.abspath(model_id) if is_path else model_id  # noqa: PTH100 - without `..`


ModelId = Annotated[str, AfterValidator(absolute_model_id)]


def is_path_part(text: str, most: int = LONGEST_PART) -> bool:
    """True for a text that can name a file or folder: no separator, control character, markup or leading dot."""
    safe = text.isprintable() and not set(text) & set("/\\<>") and not text.startswith(".")
    return safe and 0 < len(text.encode()) <= most


def path_part(text: str) -> str:
    """The text, which becomes part of a path; UserError where that could lead anywhere else."""
    if not is_path_part(text):
        raise UserError(
            f"{text[:100]!r} is no name for a file: it takes 1 to {LONGEST_PART} bytes, no / \\ < > or control "
            "character, and no dot at its beginning"
        )
    return text


PathPart = Annotated[str, AfterValidator(path_part)]


class Config(BaseModel):
    """Base of all configs.

    `not_in_run_id` names the fields that do not change a result and so enter no name; `aliases` are flags that the
    command line takes as well: another spelling -> field. `plain_defaults` are the defaults of fields whose default the
    environment may change, in an empty one: its value belongs to the command line that is shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
    not_in_run_id: ClassVar[frozenset[str]] = frozenset({"root"})
    aliases: ClassVar[dict[str, str]] = {}
    plain_defaults: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _plainly(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Report an error in one line instead of pydantic's several."""
        try:
            config = validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            if first["type"] == "missing":
                raise UserError(f"{field} is missing") from None
            valid = ", ".join(cls.model_fields) if first["type"] == "extra_forbidden" else ""
            more = f" (fields: {valid})" if valid else ""
            raise UserError(f"{field}={first['input']!r}: {first['msg']}{more}") from None
        for name, value in config:
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, int) and abs(one) > LARGEST:
                    raise UserError(f"{name}={one}: a whole number has to be between -{LARGEST} and {LARGEST}")
                unfit = CONTROLS if isinstance(one, Path) else NO_TEXT
                if isinstance(one, str | Path) and unfit.search(str(one)):
                    raise UserError(f"{name}={str(one)!r} is not UTF-8, or holds control characters; rename it")
        return config

    root: Path | None = None
    """Folder that holds data, outputs, plots and reports (default: $IA2_ROOT, else the current folder)."""

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.not_in_run_id))

    def command(self, subcommand: str, in_full: bool = False) -> str:
        """The command line that gives this config; in full with the fields that enter no name too, such as the root."""
        words = ["ia2", subcommand]
        for key, value in self.changed(in_full).items():
            values = [
                shlex.quote(str(one)) for one in (value if isinstance(value, list) else [value]) if one is not True
            ]
            words += values if tyro.conf.Positional in type(self).model_fields[key].metadata else [f"--{key}", *values]
        return " ".join(words)

    def changed(self, in_full: bool = False) -> dict[str, Any]:
        """The fields of `identity` that are not at their default; in full of all fields."""
        fields = type(self).model_fields
        defaults = {key: fields[key].get_default(call_default_factory=True) for key in fields} | self.plain_defaults
        given = self.model_dump(mode="json") if in_full else self.identity()
        return {key: value for key, value in given.items() if getattr(self, key) != defaults[key]}


class DeviceConfig(Config):
    """Device of a base model."""

    not_in_run_id: ClassVar[frozenset[str]] = Config.not_in_run_id | {"device", "device_map", "max_memory", "verify"}

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    device_map: Literal["auto", "balanced", "sequential"] | None = None
    """Spread a base model that is too large for one GPU over all GPUs, then the CPU's memory, then the disk:
    evenly (auto, balanced), or filling one device after another (sequential)."""
    max_memory: tuple[str, ...] = ()
    """With --device_map, what the weights may take of which device, as in 0=20GiB 1=20GiB cpu=60GiB;
    a device that is not named is not used (default: all that is free)."""
    verify: bool = False
    """Read every file of the base model in full, which finds what a disk has damaged (default: files of another size
    or time than before)."""

    @model_validator(mode="after")
    def _placement(self) -> Self:
        if self.device_map is None and self.max_memory:
            raise UserError("--max_memory goes with --device_map")
        if self.device_map is not None and self.device != "auto":
            raise UserError(
                f"--device_map spreads over all devices and --device {self.device} names one; give one of them"
            )
        for limit in self.max_memory:
            if not re.fullmatch(MEMORY_LIMIT, limit):
                raise UserError(
                    f"max_memory={limit!r}: give a GPU's number or cpu and a size, as in 0=20GiB or cpu=60GiB"
                )
        return self

    def placement(self) -> dict[str, Any]:
        """The fields of the device, for a config of the same fields."""
        return {name: getattr(self, name) for name in ("device", "device_map", "max_memory", "verify")}


class ModelConfig(DeviceConfig):
    """Base model and its device."""

    plain_defaults: ClassVar[dict[str, Any]] = {"model_id": DEFAULT_MODEL_ID}

    model_id: ModelId = Field(
        default_factory=lambda: os.environ.get("IA2_MODEL_ID", DEFAULT_MODEL_ID), validate_default=True
    )
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""
    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""

    def base_model(self) -> "ModelConfig":
        """The part about the model, for instance as a key to the one that is loaded."""
        return ModelConfig(model_id=self.model_id, torch_dtype=self.torch_dtype, **self.placement())
