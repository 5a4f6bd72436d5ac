"""What each row of the table needs of the teacher, and where gold labels are allowed in."""

from typing import get_args

import pytest

from ia2.config import LabelType
from ia2.methods import Variant
from ia2.training.variants import VARIANTS, Kind

# method.md section 1, phase by phase: what must be collected with the teacher's labels, and with ground truth
NEEDED: dict[Variant, list[tuple[set[Kind], set[Kind]]]] = {
    "tok": [({"tokens"}, set())],
    "tokl": [({"tokens", "distributions"}, {"tokens", "distributions"})],
    "act": [({"tokens", "activations"}, {"tokens", "activations"})],
    "tna": [({"tokens", "activations"}, {"tokens", "activations"})],
    "a2t": [({"tokens", "activations"}, {"tokens", "activations"}), ({"tokens"}, set())],
    "t2a": [({"tokens"}, set()), ({"tokens", "activations"}, {"tokens", "activations"})],
}


def test_every_variant_is_a_row() -> None:
    assert set(VARIANTS) == set(get_args(Variant)) == set(NEEDED)


@pytest.mark.parametrize("variant", NEEDED)
def test_kinds(variant: Variant) -> None:
    label_types: tuple[LabelType, LabelType] = ("icl_outputs", "ground_truth")
    found = [tuple(set(phase.kinds(label_type)) for label_type in label_types) for phase in VARIANTS[variant]]
    assert found == NEEDED[variant]


@pytest.mark.parametrize("variant", NEEDED)
def test_ground_truth_enters_only_where_nothing_of_the_teacher_is_matched(variant: Variant) -> None:
    for phase in VARIANTS[variant]:
        assert phase.uses_ground_truth("ground_truth") == (phase.losses == {"tok"})
        assert not phase.uses_ground_truth("icl_outputs")


def test_weights() -> None:
    weights = {variant: [dict(phase.weights(0.25)) for phase in phases] for variant, phases in VARIANTS.items()}
    assert weights == {
        "tok": [{"tok": 1.0}],
        "tokl": [{"tokl": 1.0}],
        "act": [{"act": 1.0}],
        "tna": [{"act": 0.75, "tok": 0.25}],
        "a2t": [{"act": 1.0}, {"tok": 1.0}],
        "t2a": [{"tok": 1.0}, {"act": 1.0}],
    }
