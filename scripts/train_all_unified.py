"""Train a grid of runs: the same as `ia2 sweep`."""

import sys

from ia2.cli import main

sys.exit(main(["sweep", *sys.argv[1:]]))
