"""Gather all evaluation records in one table: the same as `ia2 results`."""

import sys

from ia2.cli import main

sys.exit(main(["results", *sys.argv[1:]]))
