"""Train one run: the same as `ia2 train`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["train", *sys.argv[1:]]))
