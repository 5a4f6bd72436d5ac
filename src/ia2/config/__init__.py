"""Every knob, once.

A field is named as its documented flag, its docstring is its help text, and the command line is generated from these
models. They are frozen and refuse unknown keys, so that what a run was made with can be written down and compared.
No torch here: `ia2 --help` must be instant.
"""

from ia2.config.making import *
from ia2.config.schema import *
from ia2.config.selecting import *
from ia2.config.using import *
