"""Artefacts on disk: their paths and names, and writing them so that nothing half-made ever counts.

Names are for people: nothing parses one. A folder's run.json describes what it holds.
"""

from ia2.store.files import DESCRIPTION as DESCRIPTION
from ia2.store.files import RUN_FILES as RUN_FILES
from ia2.store.files import atomic_write as atomic_write
from ia2.store.files import check_files as check_files
from ia2.store.files import check_replaceable as check_replaceable
from ia2.store.files import description_path as description_path
from ia2.store.files import file_digest as file_digest
from ia2.store.files import is_temporary as is_temporary
from ia2.store.files import json_text as json_text
from ia2.store.files import list_files as list_files
from ia2.store.files import process_of as process_of
from ia2.store.files import read_description as read_description
from ia2.store.files import read_json as read_json
from ia2.store.files import read_object as read_object
from ia2.store.files import read_part as read_part
from ia2.store.files import remove as remove
from ia2.store.files import safe_filename as safe_filename
from ia2.store.files import temporaries as temporaries
from ia2.store.files import temporary_path as temporary_path
from ia2.store.files import unknown_entries as unknown_entries
from ia2.store.files import value_digest as value_digest
from ia2.store.files import write_json as write_json
from ia2.store.files import write_object as write_object
from ia2.store.locks import file_lock as file_lock
from ia2.store.locks import is_locked as is_locked
from ia2.store.locks import locked_path as locked_path
from ia2.store.locks import read_steadily as read_steadily
from ia2.store.locks import replacing as replacing
from ia2.store.locks import try_lock as try_lock
from ia2.store.paths import LONGEST_TAIL as LONGEST_TAIL
from ia2.store.paths import evaluations_folder as evaluations_folder
from ia2.store.paths import is_run as is_run
from ia2.store.paths import low_data_path as low_data_path
from ia2.store.paths import name_tail as name_tail
from ia2.store.paths import pool_path as pool_path
from ia2.store.paths import resolve_root as resolve_root
from ia2.store.paths import run_folder as run_folder
from ia2.store.paths import run_folders as run_folders
from ia2.store.paths import run_name as run_name
from ia2.store.paths import short_model_name as short_model_name
from ia2.store.paths import split_file as split_file
from ia2.store.paths import split_path as split_path
from ia2.store.paths import splits_on_disk as splits_on_disk
from ia2.store.paths import targets_folder as targets_folder
