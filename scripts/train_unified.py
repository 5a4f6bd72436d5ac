"""Train one run: the same as `ia2 train`."""

import sys

from ia2.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
