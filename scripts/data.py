"""Datasets: the tasks there are, what was prepared, and training sets drawn from it. Pieces of ia2, by one import."""

from ia2.prompts.prompt import prompt_text
from ia2.prompts.splits import load_split
from ia2.tasks import task
from ia2.tasks.parsers import parse
from ia2.tasks.pool import load_pool
from ia2.tasks.registry import DATASETS, TASKS

__all__ = ["DATASETS", "TASKS", "load_pool", "load_split", "parse", "prompt_text", "task"]
