"""Sources of data and weights: a pinned package of the pip index, the hub, or a local file.

The rows fetched are those requested, or it is an error.
"""

from ia2.sources.digests import *
from ia2.sources.hub import *
from ia2.sources.packages import *
from ia2.sources.provenance import *
from ia2.sources.row_files import *
