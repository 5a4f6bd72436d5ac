"""Read stored responses again: the same as `ia2 reparse`."""

import sys

from ia2.cli import main

sys.exit(main(["reparse", *sys.argv[1:]]))
