"""Draw the training sets of a dataset: the same as `ia2 create`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["create", *sys.argv[1:]]))
