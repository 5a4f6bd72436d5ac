"""Gather all evaluation records in one table: the same as `ia2 results`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["results", *sys.argv[1:]]))
