"""Unrelated words for labels: the words, which tasks can have them, and their names. Pieces of ia2, by one import."""

from ia2.tasks.forms import can_remap
from ia2.tasks.labels import REMAP_WORDS
from ia2.tasks.names import dataset_name

__all__ = ["REMAP_WORDS", "can_remap", "dataset_name"]
