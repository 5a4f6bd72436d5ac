"""Figures: each a function of a frame that returns a Figure, without pyplot and its global state; a file per family.

A value that is missing is a gap, never 0.
"""

from ia2.report.plots.bars import accuracy_bars as accuracy_bars
from ia2.report.plots.dev_loss import dev_loss_curves as dev_loss_curves
from ia2.report.plots.reliability import join_bins as join_bins
from ia2.report.plots.reliability import reliability_diagram as reliability_diagram
