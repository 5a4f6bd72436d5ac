"""Unrelated words for labels, and the names of the tasks that use them. Pieces of ia2, by one import."""

from ia2.tasks.names import dataset_name
from ia2.tasks.task_files import REMAP_WORDS

__all__ = ["REMAP_WORDS", "dataset_name"]
