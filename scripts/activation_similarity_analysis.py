"""Compare activations of trained runs with their teacher's: the same as `ia2 similarity`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["similarity", *sys.argv[1:]]))
