"""Where data and weights come from: a pinned package of the pip index, the hub, or a local file.

Whatever is fetched is either what was asked for or an error. Tasks and loading need the names below and nothing else.
"""

from ia2.sources.digests import file_digests, forget_digests
from ia2.sources.files import (
    FILE_TYPES,
    check_columns,
    iterate_objects,
    iterate_rows,
    read_rows,
    say_once,
    stem_and_type,
    text_of_cell,
)
from ia2.sources.hub import HubError, HubSource, hub_resolves, load_split
from ia2.sources.packages import (
    PackageSource,
    cache_folder,
    extract_member,
    package_file,
    read_members,
    read_nested_member,
)
from ia2.sources.tables import (
    SourceRow,
    Table,
    Texts,
    bundled_table,
    hold_out,
    row_of,
    split_provenance,
    text_of,
    texts_of,
)

__all__ = [
    "FILE_TYPES",
    "HubError",
    "HubSource",
    "PackageSource",
    "SourceRow",
    "Table",
    "Texts",
    "bundled_table",
    "cache_folder",
    "check_columns",
    "extract_member",
    "file_digests",
    "forget_digests",
    "hold_out",
    "hub_resolves",
    "iterate_objects",
    "iterate_rows",
    "load_split",
    "package_file",
    "read_members",
    "read_nested_member",
    "read_rows",
    "row_of",
    "say_once",
    "split_provenance",
    "stem_and_type",
    "text_of",
    "text_of_cell",
    "texts_of",
]
