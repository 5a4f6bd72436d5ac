"""Compare the LoRA updates of trained runs: the same as `ia2 subspace`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["subspace", *sys.argv[1:]]))
