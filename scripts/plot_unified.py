"""Plot what was measured: the same as `ia2 plot`."""

import sys

from ia2.cli import main

sys.exit(main(["plot", *sys.argv[1:]]))
