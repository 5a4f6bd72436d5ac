"""Figures: each a function of a frame that returns a Figure, without pyplot and its global state; a file per family.

A value that is missing is a gap, never 0.
"""

from ia2.plots.adapters import adapters_compared as adapters_compared
from ia2.plots.bars import accuracy_bars as accuracy_bars
from ia2.plots.cost import cost_against_accuracy as cost_against_accuracy
from ia2.plots.dev_loss import dev_loss_curves as dev_loss_curves
from ia2.plots.lines import metric_against_n as metric_against_n
from ia2.plots.overlap import overlap_bars as overlap_bars
from ia2.plots.overlap import overlap_boxes as overlap_boxes
from ia2.plots.overlap import overlap_violins as overlap_violins
from ia2.plots.overview import overview as overview
from ia2.plots.reliability import join_bins as join_bins
from ia2.plots.reliability import reliability_diagram as reliability_diagram
from ia2.plots.similarity import similarity_against_performance as similarity_against_performance
from ia2.plots.similarity import similarity_by_layer as similarity_by_layer
from ia2.plots.similarity import similarity_heat_maps as similarity_heat_maps
