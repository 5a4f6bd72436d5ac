"""Unrelated words for labels: the words, which tasks can have them, and their names. Pieces of ia2, by one import."""

from ia2.tasks.names import dataset_name
from ia2.tasks.task_files import REMAP_WORDS, can_remap

__all__ = ["REMAP_WORDS", "can_remap", "dataset_name"]
