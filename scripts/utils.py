"""Models, methods, and where files lie and what runs are called. Pieces of ia2, by one import."""

from ia2.methods import parse_method
from ia2.models.loading import load_model
from ia2.store import evaluations_folder, pool_path, read_json, run_folder, run_name, split_path, write_json

__all__ = [
    "evaluations_folder",
    "load_model",
    "parse_method",
    "pool_path",
    "read_json",
    "run_folder",
    "run_name",
    "split_path",
    "write_json",
]
