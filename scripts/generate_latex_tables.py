"""Write the tables of results: the same as `ia2 tables`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["tables", *sys.argv[1:]]))
