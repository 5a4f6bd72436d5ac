"""Plot similarity by layer and token, and against performance: the same as `ia2 plot --plot_types similarity`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["plot", "--plot_types", "similarity", *sys.argv[1:]]))
