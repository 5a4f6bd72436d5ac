"""Analyses of trained runs beside their answers: similarity of activations, overlap of updates."""
