"""The closed label sets that several datasets share: answer text -> meaning.

Datasets with one label set form one group, in which an adapter trained on one is evaluated on the others. An answer is
always text: the hub holds labels as numbers in one dataset and as words in the next.
"""

from collections.abc import Mapping

SENTIMENT = {"0": "negative", "1": "positive"}
AGNEWS = {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}
TRUTH = {"0": "false", "1": "true"}

REMAP_WORDS = ("apple", "Friday", "banana", "Saturday", "Thursday", "Sunday", "Wednesday", "Monday")
"""Words that have nothing to do with any task, one for each label: its meaning can only be learnt in context."""


def label_of(value: str, labels: Mapping[str, str]) -> str:
    """`labels[value]`; ValueError names an unknown value and the known ones."""
    if value not in labels:
        raise ValueError(f"unknown label {value!r}; known: {', '.join(labels)}")
    return labels[value]


def numbered(count: int) -> dict[str, str]:
    """The labels of a question with `count` choices: the index of the right one."""
    return {str(index): f"choice {index}" for index in range(count)}
