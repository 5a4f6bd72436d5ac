"""The model card, README.md of an adapter's folder: what it is and was made from, what was measured, how to use it.

In the hub's format, so that a folder can be published unchanged. The part between two comments is about evaluations and
is replaced by each of them; all else is written once, and what a person changes there stays. It has no times: the
same run has the same card.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ia2.config import EMBEDDED_MODEL, TrainConfig
from ia2.methods import Adapter
from ia2.page.templates import render_text
from ia2.tasks.task_spec import TaskSpec

CARD = "README.md"
BEGIN, END = "<!-- measured: ia2 evaluate replaces this part -->", "<!-- end of measured -->"
NOT_MEASURED = "Nothing yet. `ia2 evaluate` measures, and writes it here."
HUB_IDS = {EMBEDDED_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Origins of embedded weights."""

ADAPTERS: dict[Adapter, str] = {
    "lora": "a LoRA adapter",
    "ia3": "an (IA)3 adapter",
    "prompt": "an adapter of virtual tokens (prompt tuning)",
    "prefix": "an adapter of virtual keys and values (prefix tuning)",
}
SAID_ELSEWHERE = frozenset(
    {"training_method", "dataset", "model_id", "torch_dtype", "num_train_examples", "run_idx", "label_type"}
)


def model_card(
    description: Mapping[str, Any], outcome: Mapping[str, Any], measured: str = NOT_MEASURED, merging: str = ""
) -> str:
    """The whole card of a run, given the content of its run.json and final_loss_statistics.json.

    `measured` is the part about evaluations; `merging` reports, for a merged model, the change that merging made.
    """
    data = {"source": "", "licence": "", **description.get("data", {})}  # a run may be older than they are
    config = TrainConfig.model_validate(description["config"])
    base = _base(description["base"])
    metadata = ModelCardData(
        base_model=base["hub_id"] or None,
        library_name="transformers" if merging else "peft",
        pipeline_tag="text-generation",
        base_model_relation="finetune" if merging and base["hub_id"] else None,
        tags=["ia2", "in-context-learning", config.method.adapter, config.method.variant],
        datasets=[_dataset_id(config.dataset, data["source"] or "")],
    )
    return render_text(
        "card.md.jinja",
        metadata=metadata.to_yaml(),
        config=config,
        base=base,
        adapter=ADAPTERS[config.method.adapter],
        method=config.method_in_words,
        has_teacher=any(phase.kinds(config.label_type) for phase in config.method.phases),
        fields=", ".join(f"{key} {value}" for key, value in _settings(config).items()),
        data=data,
        labels_used=config.labels_used(description["num_dev_used"]),
        outcome=outcome,
        merging=merging,
        versions=", ".join(f"{name} {version}" for name, version in description["versions"].items()),
        measured=measured if merging else _between_marks(measured),
        prompt=_prompt(TaskSpec.model_validate(description["task"])),
        command=without_place(config.command("train"), config.model_id),
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


def without_place(command: str, model_id: str) -> str:
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


# The part of a card


def _between_marks(part: str) -> str:
    return f"{BEGIN}\n{part}\n{END}"


def part_of(card: str) -> str | None:
    """The part of a card about evaluations; None where a person has taken the marks away."""
    begin, end = card.find(BEGIN), card.find(END)
    return card[begin + len(BEGIN) : end].strip("\n") if 0 <= begin < end else None


def with_part(card: str, part: str, results: Sequence[EvalResult] = (), name: str = "") -> str:
    """The card with its part about evaluations replaced; unchanged where a person has taken the marks away.

    The `results` of the model of this `name` replace those of the header, which the hub shows.
    """
    old = part_of(card)
    if old is None:
        return card
    card = card.replace(_between_marks(old), _between_marks(part))
    if not results:
        return card
    known = ModelCard(card, ignore_metadata_errors=True)
    data: Any = known.data
    data.model_name, data.eval_results = name, list(results)
    return str(known)
