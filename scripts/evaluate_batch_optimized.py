"""Evaluate the base model and trained runs: the same as `ia2 evaluate`."""

import sys

from ia2.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
