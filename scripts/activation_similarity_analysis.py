"""Compare activations of trained runs with their teacher's: the same as `ia2 similarity`."""

import sys

from ia2.cli import main

sys.exit(main(["similarity", *sys.argv[1:]]))
