"""Similarities as text for the terminal: every model beside the controls, then pairs of methods."""

from collections.abc import Sequence

from ia2.analysis.similarity import Similarity
from ia2.methods import BASE, METHODS, OTHER_DEMONSTRATIONS, TEACHER
from ia2.report.text import aligned, mean_and_sd, settings_of, told_apart
from ia2.store import short_model_name

NOTE = (
    "Cosine of activations on the teacher's responses: mean over the layers and tokens of each example, then over "
    "examples;\n± sd over runs (ddof 1). teacher: the base model with demonstrations. base: without, the untrained "
    "student.\nother: a teacher shown other demonstrations, with the same responses fed to it."
)
CONTROLS = {TEACHER: "teacher", OTHER_DEMONSTRATIONS: "other"}
"""What every model is compared with -> heading."""
ORDER = (TEACHER, BASE, *METHODS)


def similarity_table(found: Sequence[Similarity]) -> str:
    """A table for each evaluation set and way of asking, over all runs."""
    titles = list(dict.fromkeys(map(_title, found)))
    sections = [_section(title, [one for one in found if _title(one) == title]) for title in titles]
    return "\n\n".join([*sections, NOTE])


def _title(one: Similarity) -> str:
    source = f"at most {one.icl_max_demos} demonstrations of {one.icl_source_dataset}, N = {one.num_train_examples}"
    pool = "" if one.icl_pool == "train" else f", pool {one.icl_pool}"
    answers = f"{one.num_examples} examples, T = {one.num_generated_tokens_eval}"
    stop = "" if one.stop == "separator" else f", stop {one.stop}"
    chat = ", chat template" if one.chat_template else ""
    return f"{one.eval_dataset} ({answers}{stop}{chat}), {source}{pool}, {short_model_name(one.model_id)}"


def _section(title: str, found: Sequence[Similarity]) -> str:
    names = _names(found)
    rows: dict[str, dict[str, list[float]]] = {}
    beside: dict[str, list[float]] = {}
    for one, name in sorted(zip(found, names, strict=True), key=lambda pair: _place(pair[0])):
        mean = one.mean
        if one.reference in CONTROLS:
            rows.setdefault(name, {}).setdefault(one.reference, []).append(mean)
        else:
            beside.setdefault(name, []).append(mean)
    lines = [
        [name, *(mean_and_sd(row.get(control, [])) for control in CONTROLS), str(max(map(len, row.values())))]
        for name, row in rows.items()
    ]
    text = [title, *aligned(["cosine with", *CONTROLS.values(), "runs"], lines)]
    if beside:
        lines = [[name, mean_and_sd(values), str(len(values))] for name, values in beside.items()]
        text += aligned(["between methods", "cosine", "runs"], lines)
    return "\n".join(text)


def _place(one: Similarity) -> tuple[int, int]:
    """Methods in their order, and within one those that it is compared with."""
    return ORDER.index(one.method), (*CONTROLS, *METHODS).index(one.reference)


def _names(found: Sequence[Similarity]) -> list[str]:
    """The method, or both, with what tells it from others of its name."""
    names = [one.method if one.reference in CONTROLS else f"{one.method}, {one.reference}" for one in found]
    return told_apart(names, [settings_of(one.run, one.reference_run) for one in found])
