"""Read stored responses again: the same as `ia2 reparse`."""

import sys

from ia2.cli import main

if __name__ == "__main__":  # workers import this file too
    sys.exit(main(["reparse", *sys.argv[1:]]))
