"""Train a grid of runs: the same as `ia2 sweep`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["sweep", *sys.argv[1:]]))
