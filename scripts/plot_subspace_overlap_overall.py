"""Plot how much updates overlap: the same as `ia2 plot --plot_types overlap`."""

import sys

from ia2.cli import main

sys.exit(main(["plot", "--plot_types", "overlap", *sys.argv[1:]]))
