"""Make every plot: the same as `ia2 plot-all`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["plot-all", *sys.argv[1:]]))
