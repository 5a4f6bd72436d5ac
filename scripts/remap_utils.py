"""Unrelated words for labels, and the names of the tasks that use them. Pieces of ia2, by one import."""

from ia2.tasks.labels import REMAP_WORDS
from ia2.tasks.names import dataset_name

__all__ = ["REMAP_WORDS", "dataset_name"]
