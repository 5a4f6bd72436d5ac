"""Run an experiment file: the same as `ia2 run`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["run", *sys.argv[1:]]))
