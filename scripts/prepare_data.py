"""Fetch datasets and render them: the same as `ia2 prepare`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["prepare", *sys.argv[1:]]))
