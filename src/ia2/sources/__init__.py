"""Sources of data and weights: a pinned package of the pip index, the hub, or a local file.

The rows fetched are those requested, or it is an error. Tasks and loading need the names below and nothing else.
"""

from ia2.sources.digests import file_digests as file_digests
from ia2.sources.digests import forget_digests as forget_digests
from ia2.sources.hub import HubError as HubError
from ia2.sources.hub import HubSource as HubSource
from ia2.sources.hub import hub_resolves as hub_resolves
from ia2.sources.hub import load_hub_split as load_hub_split
from ia2.sources.packages import PackageSource as PackageSource
from ia2.sources.packages import cache_folder as cache_folder
from ia2.sources.packages import extract_member as extract_member
from ia2.sources.packages import package_file as package_file
from ia2.sources.packages import read_members as read_members
from ia2.sources.packages import read_nested_member as read_nested_member
from ia2.sources.row_files import FILE_TYPES as FILE_TYPES
from ia2.sources.row_files import check_columns as check_columns
from ia2.sources.row_files import iterate_objects as iterate_objects
from ia2.sources.row_files import iterate_rows as iterate_rows
from ia2.sources.row_files import say_once as say_once
from ia2.sources.row_files import stem_and_type as stem_and_type
from ia2.sources.row_files import text_of_cell as text_of_cell
from ia2.sources.tables import SourceRow as SourceRow
from ia2.sources.tables import Table as Table
from ia2.sources.tables import Texts as Texts
from ia2.sources.tables import bundled_table as bundled_table
from ia2.sources.tables import hold_out as hold_out
from ia2.sources.tables import row_of as row_of
from ia2.sources.tables import split_provenance as split_provenance
from ia2.sources.tables import text_of as text_of
from ia2.sources.tables import texts_of as texts_of
