"""Two models compared on the responses of a teacher: who they are, where the outcome lies, what it rests on."""

from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.analysis.pairing import name_beside
from ia2.config import path_part
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.methods import BASE
from ia2.training.trained_run import TrainedRun


@dataclass(frozen=True)
class ComparedModel:
    """One of the two: a run, by its method, or the base model as BASE, TEACHER or OTHER_DEMONSTRATIONS."""

    name: str
    trained: TrainedRun | None = None

    @property
    def key(self) -> str:
        """What tells it from every other."""
        return str(self.trained.folder) if self.trained else self.name

    @property
    def shows_demonstrations(self) -> bool:
        return self.trained is None and self.name != BASE

    @property
    def adapter_digest(self) -> str | None:
        """sha256 of the run's weights; None for the base model."""
        return store.file_digest(self.trained.folder / "adapter_model.safetensors") if self.trained else None


@dataclass(frozen=True)
class Comparison:
    """Two models on the responses of the teacher that `asked` describes."""

    asked: EvaluationSpec
    student: ComparedModel
    reference: ComparedModel

    @property
    def sides(self) -> tuple[ComparedModel, ComparedModel]:
        return self.student, self.reference

    @property
    def trained_dataset(self) -> str:
        """What the student was trained on; for the base model where demonstrations come from."""
        return self.student.trained.config.dataset if self.student.trained else self.asked.icl_source_dataset

    def path(self, root: Path) -> Path:
        """The JSON that says what came out."""
        trained, reference = self.student.trained, self.reference.trained
        name = f"{trained.folder.name if trained else self.asked.base_name}_vs_"
        name += name_beside(trained, reference) if trained and reference else self.reference.name
        folder = root / "outputs" / "similarity" / self.student.name / path_part(self.trained_dataset)
        return self.asked.existing_path(folder / f"{store.safe_filename(f'{name}__{self.asked.name}')}.json")

    def rests_on(self, root: Path) -> dict[str, str | None]:
        """sha256 of the files that decide it, but for the responses, which follow from them; None for no adapter."""
        return {
            "adapter_sha256": self.student.adapter_digest,
            "reference_adapter_sha256": self.reference.adapter_digest,
            **data_digests(root, self.asked),
        }


def data_digests(root: Path, asked: EvaluationSpec) -> dict[str, str]:
    """sha256 of the files that say what is asked and shown."""
    return {
        "eval_sha256": store.file_digest(store.pool_path(root, asked.eval_dataset)),
        "split_sha256": store.file_digest(asked.split_path(root)),
        "source_sha256": store.file_digest(store.pool_path(root, asked.icl_source_dataset)),
    }
