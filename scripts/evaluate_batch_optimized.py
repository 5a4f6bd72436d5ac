"""Evaluate the base model and trained runs: the same as `ia2 evaluate`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["evaluate", *sys.argv[1:]]))
