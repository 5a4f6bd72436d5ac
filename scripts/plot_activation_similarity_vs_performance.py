"""Plot similarity by layer and token, and against performance: the same as `ia2 plot --plot_types similarity`."""

import sys

from ia2.cli import main

sys.exit(main(["plot", "--plot_types", "similarity", *sys.argv[1:]]))
