"""Run an experiment file: the same as `ia2 run`."""

import sys

from ia2.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
