"""Plot the adapters side by side: the same as `ia2 plot --plot_types adapters`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["plot", "--plot_types", "adapters", *sys.argv[1:]]))
