"""The closed label sets that several datasets share: answer text -> meaning.

Datasets with one label set form one group, in which an adapter trained on one is evaluated on the others. An answer is
always text: the hub holds labels as numbers in one dataset and as words in the next.
"""

from collections.abc import Mapping

from ia2.errors import UserError

SENTIMENT = {"0": "negative", "1": "positive"}
AGNEWS = {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}


def label_of(value: str, labels: Mapping[str, str], where: str) -> str:
    """`labels[value]`; UserError says where an unknown value stands and which are known."""
    if value not in labels:
        raise UserError(f"{where}: unknown label {value!r}; known: {', '.join(labels)}")
    return labels[value]
