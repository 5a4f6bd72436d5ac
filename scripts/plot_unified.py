"""Plot what was measured: the same as `ia2 plot`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["plot", *sys.argv[1:]]))
