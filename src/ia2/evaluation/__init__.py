"""Evaluation: sets of queries, the answers of a model to them, metrics, calibration and statistics."""
