"""The model card, README.md of an adapter's folder: what it is and was made from, what was measured, how to use it.

In the hub's format, so that a folder can be published as it is. The part between two comments is about evaluations and
is replaced by each of them; all else is written once, and what a person changes there stays. No times stand in it: the
same run has the same card.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ia2.config import EMBEDDED_MODEL, TrainConfig
from ia2.methods import Adapter
from ia2.page.templates import render_text
from ia2.results.compare import interval_of
from ia2.results.label import in_words
from ia2.results.quantities import shown_as
from ia2.results.records import PASSES, Record
from ia2.store import read_description, read_object
from ia2.tasks.base import TaskSpec

CARD = "README.md"
BEGIN, END = "<!-- measured: ia2 evaluate replaces this part -->", "<!-- end of measured -->"
NOT_MEASURED = "Nothing yet. `ia2 evaluate` measures, and writes it here."
HUB_IDS = {EMBEDDED_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""What embedded weights were made from."""

ADAPTERS: dict[Adapter, str] = {
    "lora": "a LoRA adapter",
    "ia3": "an (IA)3 adapter",
    "prompt": "an adapter of virtual tokens (prompt tuning)",
    "prefix": "an adapter of virtual keys and values (prefix tuning)",
}
SAID_ELSEWHERE = frozenset(
    {"training_method", "dataset", "model_id", "torch_dtype", "num_train_examples", "run_idx", "label_type"}
)


@dataclass(frozen=True)
class Subject:
    """What a card is about: the content of run.json and of final_loss_statistics.json, the gold labels that went
    in, and, for a merged model, what merging changed."""

    description: Mapping[str, Any]
    outcome: Mapping[str, Any]
    labels_used: Mapping[str, int]
    merging: str = ""


def read_subject(folder: Path, labels_used: Mapping[str, int], merging: str = "") -> Subject:
    """The run in `folder`."""
    description = read_description(folder, tensors=False)
    return Subject(description, read_object(folder / "final_loss_statistics.json"), labels_used, merging)


def model_card(subject: Subject, measured: str = NOT_MEASURED) -> str:
    """The whole card; `measured` is the part about evaluations."""
    description = subject.description
    data = {"source": "", "licence": "", **description.get("data", {})}  # a run may be older than they are
    config = TrainConfig.model_validate(description["config"])
    return render_text(
        "card.md.jinja",
        config=config,
        base=_base(description["base"]),
        tags=["ia2", "in-context-learning", config.method.adapter, config.method.variant],
        adapter=ADAPTERS[config.method.adapter],
        method=in_words(config),
        has_teacher=any(phase.kinds(config.label_type) for phase in config.method.phases),
        fields=", ".join(f"{key} {value}" for key, value in _settings(config).items()),
        data={**data, "id": _dataset_id(config.dataset, data["source"] or "")},
        labels_used=subject.labels_used,
        outcome=subject.outcome,
        merging=subject.merging,
        versions=", ".join(f"{name} {version}" for name, version in description["versions"].items()),
        measured=measured if subject.merging else _between_marks(measured),
        prompt=_prompt(TaskSpec.model_validate(description["task"])),
        command=_without_place(config.command("train"), config.model_id),
    )


def _base(told: Mapping[str, Any]) -> dict[str, Any]:
    """The base model; without a hub id, and by its name alone, where it is a folder or a file of somebody's machine."""
    model_id = str(told["model_id"])
    named = model_id if re.fullmatch(r"[\w.-]+/[\w.-]+", model_id) and not Path(model_id).exists() else ""
    embedded = model_id in HUB_IDS
    packed = embedded or model_id.endswith(".gguf")
    hub_id = HUB_IDS.get(model_id, "" if packed else named)
    name = model_id.rstrip("/").rsplit("/", 1)[-1]
    local = Path(model_id).is_absolute()
    return {**told, "name": name, "local": local, "hub_id": hub_id, "embedded": embedded, "packed": packed}


def _without_place(command: str, model_id: str) -> str:
    """The command with a local base model's name for its path, which is nobody else's."""
    path = Path(model_id)
    return command.replace(shlex.quote(model_id), shlex.quote(path.name)) if path.is_absolute() else command


def _dataset_id(dataset: str, source: str) -> str:
    """The hub's id of the rows, or our name of rows from elsewhere."""
    found = re.match(r"hub ([\w.-]+/[\w.-]+)", source)
    return found[1] if found else dataset


def _settings(config: TrainConfig) -> dict[str, Any]:
    """The fields that say how it was trained: those that size the adapter, T, lr, and what is not at its default."""
    applicable = config.relevant_fields()
    always = ("lora_type", "lora_r", "lora_alpha", "ia3_type", "num_virtual_tokens", "num_generated_tokens", "lr")
    told = {key: applicable[key] for key in always if key in applicable}
    changed = {key: value for key, value in config.changed().items() if key in applicable}
    return {key: value for key, value in {**told, **changed}.items() if key not in SAID_ELSEWHERE}


def _prompt(spec: TaskSpec) -> dict[str, Any]:
    """The question as a format string, and its fields; a dot of a name, which str.format would follow, is a line."""
    opening = f"{spec.instruction}\n\n" if spec.instruction and spec.instruct == "both" else ""
    escaped = opening.replace("{", "{{").replace("}", "}}")
    template = spec.template
    for field in spec.fields:
        template = template.replace(f"{{{field}}}", f"{{{field.replace('.', '_')}}}")
    return {"template": escaped + template, "row": {field.replace(".", "_"): "..." for field in spec.fields}}


# What was measured


def measured_part(records: Sequence[Record]) -> str:
    """Accuracy, calibration and likelihood of each evaluation, with the intervals that one run allows.

    What two records say alike, as those with and without uncertainty do, stands once.
    """
    lines = list(dict.fromkeys(line for record in records for line in _lines(record)))
    if not lines:
        return NOT_MEASURED
    heading = "| evaluation set | demonstrations | T | examples | accuracy % [95%] | ECE (floor) | NLL [95%] |"
    commands = dict.fromkeys(_without_place(record.command, record.settings.model_id) for record in records)
    return "\n".join(
        [
            heading,
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Accuracy: exact match of the answer that is read from the response. ECE: of the label among all labels",
            "(of the first token of free text), 15 bins of equal count; the floor is what a calibrated model shows",
            "on as many examples. NLL: of the gold label (of the gold first token of free text), in nats. Intervals:",
            "95%, over examples (bootstrap, and with fewer than 5 right or wrong answers Clopper and Pearson's where",
            "that is wider), of this one run. Made by",
            "",
            "```",
            *commands,
            "```",
        ]
    )


def _lines(record: Record) -> list[str]:
    """A line for each pass."""
    passes = [(with_icl, name) for with_icl, name in PASSES.items() if f"{name}_accuracy" in record.metrics]
    return [_line(record, with_icl, name) for with_icl, name in passes]


def _line(record: Record, with_icl: bool, name: str) -> str:
    asked, metrics = record.settings, record.measured()
    ece, floor, nll = (f"{name}_{shown_as(metric, metrics)}" for metric in ("ece_equal_count", "ece_floor", "nll"))
    cells = [
        asked.eval_dataset + _unusual(record),
        f"{asked.num_shown} from {asked.icl_source_dataset}" if with_icl else "none",
        asked.num_generated_tokens_eval,
        record.num_examples,
        _with_interval(record, with_icl, f"{name}_accuracy", ".1f"),
        f"{metrics[ece]:.3f}" + (f" ({metrics[floor]:.3f})" if floor in metrics else ""),
        _with_interval(record, with_icl, nll, ".3f"),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _with_interval(record: Record, with_icl: bool, key: str, form: str) -> str:
    if key not in record.metrics:
        return "–"  # a record that is older than the metric
    value = record.metrics[key]
    metric = key.removeprefix(f"{PASSES[with_icl]}_")
    interval = interval_of(metric, [str(record.path)], with_icl, [value])
    low, high = (format(end, form) for end in (interval.low, interval.high))
    return f"{value:{form}} [{low}, {high}]"


USUAL = {"icl_pool": "train", "stop": "separator", "control": "none", "reader": ""}


def _unusual(record: Record) -> str:
    """The settings of an evaluation that are not the usual ones, in brackets."""
    asked = record.settings.model_dump(mode="json")
    told = [f"{key} {asked[key]}" for key, usual in USUAL.items() if asked.get(key, usual) != usual]
    return f" ({', '.join(told)})" if told else ""


# The part of a card


def _between_marks(part: str) -> str:
    return f"{BEGIN}\n{part}\n{END}"


def part_of(card: str) -> str | None:
    """The part of a card about evaluations; None where a person has taken the marks away."""
    begin, end = card.find(BEGIN), card.find(END)
    return card[begin + len(BEGIN) : end].strip("\n") if 0 <= begin < end else None


def with_part(card: str, part: str) -> str:
    """The card with its part about evaluations replaced; as it is where a person has taken the marks away."""
    old = part_of(card)
    return card if old is None else card.replace(_between_marks(old), _between_marks(part))
