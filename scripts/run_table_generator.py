"""Write the tables of results: the same as `ia2 tables`."""

import sys

from ia2.cli import main

sys.exit(main(["tables", *sys.argv[1:]]))
