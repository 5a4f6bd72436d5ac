"""What each row of the table needs of the teacher, and where gold labels are allowed in."""

import pytest

from ia2.methods import METHODS, VARIANTS, Kind, LabelType

# method.md section 1, phase by phase: what must be collected with the teacher's labels, and with ground truth
NEEDED: dict[str, list[tuple[set[Kind], set[Kind]]]] = {
    "tok": [({"tokens"}, set())],
    "tokl": [({"tokens", "distributions"}, {"tokens", "distributions"})],
    "act": [({"tokens", "activations"}, {"tokens", "activations"})],
    "tna": [({"tokens", "activations"}, {"tokens", "activations"})],
    "a2t": [({"tokens", "activations"}, {"tokens", "activations"}), ({"tokens"}, set())],
    "t2a": [({"tokens"}, set()), ({"tokens", "activations"}, {"tokens", "activations"})],
}


def test_every_variant_is_a_row() -> None:
    assert set(VARIANTS) == set(NEEDED)


@pytest.mark.parametrize("variant", NEEDED)
def test_kinds(variant: str) -> None:
    label_types: tuple[LabelType, LabelType] = ("icl_outputs", "ground_truth")
    found = [tuple(set(phase.kinds(label_type)) for label_type in label_types) for phase in VARIANTS[variant].phases]
    assert found == NEEDED[variant]


def test_weights() -> None:
    weights = {variant: [dict(phase.weights(0.25)) for phase in row.phases] for variant, row in VARIANTS.items()}
    assert weights == {
        "tok": [{"tok": 1.0}],
        "tokl": [{"tokl": 1.0}],
        "act": [{"act": 1.0}],
        "tna": [{"act": 0.75, "tok": 0.25}],
        "a2t": [{"act": 1.0}, {"tok": 1.0}],
        "t2a": [{"tok": 1.0}, {"act": 1.0}],
    }


# method.md sections 1 and 4, by hand: the fields that mean something to a variant, and if it refuses ground truth
FIELDS: dict[str, tuple[set[str], bool]] = {
    "tok": ({"label_type"}, False),
    "tokl": ({"tokl_top_k"}, True),
    "act": ({"layers", "act_norm"}, False),
    "tna": ({"ce_loss_weight", "layers", "act_norm"}, True),
    "a2t": ({"label_type", "layers", "act_norm"}, False),
    "t2a": ({"label_type", "layers", "act_norm"}, False),
}


def test_what_follows_from_a_row() -> None:
    assert {name: (set(row.fields), row.refuses_ground_truth) for name, row in VARIANTS.items()} == FIELDS
    assert {name: row.selection_loss for name, row in VARIANTS.items() if row.selection_loss} == {"tna": "tok"}
    first = {name: str(method.first) for name, method in METHODS.items() if method.first is not None}
    two_phases = {"a2t": "act", "t2a": "tok"}
    prefixes = ("", "ia3-", "prompt-", "prefix-")
    assert first == {prefix + two: prefix + one for prefix in prefixes for two, one in two_phases.items()}
