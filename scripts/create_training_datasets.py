"""Draw the training sets of a dataset: the same as `ia2 create`."""

import sys

from ia2.cli import main

sys.exit(main(["create", *sys.argv[1:]]))
