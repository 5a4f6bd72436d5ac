"""Fetch datasets and render them: the same as `ia2 prepare`."""

import sys

from ia2.cli import main

sys.exit(main(["prepare", *sys.argv[1:]]))
