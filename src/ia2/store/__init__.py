"""Artefacts on disk: their paths and names, and writing them so that nothing half-made ever counts.

Names are for people: nothing parses one. A folder's run.json describes what it holds.
"""

from ia2.store.files import *
from ia2.store.locks import *
from ia2.store.paths import *
