"""Plot how much updates overlap: the same as `ia2 plot --plot_types overlap`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["plot", "--plot_types", "overlap", *sys.argv[1:]]))
