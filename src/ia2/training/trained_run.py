"""A finished run, read back from its folder: its adapter's configuration, task and base, all from run.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.config import StopRule, TrainConfig, as_stored
from ia2.errors import UserError
from ia2.models.loading import LanguageModel, changed_parts
from ia2.tasks.task_spec import TaskSpec


@dataclass(frozen=True)
class TrainedRun:
    """A run in the store: its folder, and the content of its run.json."""

    folder: Path
    config: TrainConfig
    spec: TaskSpec
    description: Mapping[str, Any]

    @cached_property
    def num_generated_tokens(self) -> int:
        return int(self.description["config"]["num_generated_tokens"])

    @property
    def stop(self) -> StopRule:
        """The rule that its responses end by."""
        return "eos" if self.config.stop == "eos" else "separator"

    @property
    def model_id(self) -> str:
        return str(self.description["base"]["model_id"])

    @property
    def dtype(self) -> str:
        return str(self.description["base"]["dtype"])

    def check_base(self, lm: LanguageModel) -> None:
        """UserError where `lm` is not the base model that the adapter was trained on."""
        base = self.description["base"]
        changed = changed_parts(base.get("parts"), lm.parts)
        if changed or ("parts" not in base and base["revision"] != lm.revision):
            raise UserError(
                f"{self.folder} was trained on {self.model_id!r}, whose {' and '.join(changed) or 'weights'} are not "
                f"those of the {lm.model_id!r} that is loaded; give the model it was trained on with --model_id, "
                "or train it again"
            )


def read_trained_run(folder: Path) -> TrainedRun:
    """The run in `folder`; UserError where there is none, or one of its files is damaged.

    Of its weights the size is checked here, and the content where they are loaded.
    """
    return store.read_steadily(folder, lambda: _read(folder))


def _read(folder: Path) -> TrainedRun:
    if not (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} is no trained adapter: it holds no adapter_config.json")
    path = store.description_path(folder)
    description = store.read_description(folder, tensors=False)
    try:
        config = as_stored(TrainConfig.model_validate(description["config"]))
        spec = TaskSpec.model_validate(description["task"])
        description["base"]["revision"], description["base"]["model_id"], description["base"]["dtype"]
        int(description["config"]["num_generated_tokens"]), int(description["num_dev_used"])
    except (UserError, KeyError, TypeError, ValueError) as error:
        what = " ".join(str(error).split())  # pydantic's own take several lines
        raise UserError(f"{path} does not describe a run ({what})") from None
    return TrainedRun(folder, config, spec, description)
