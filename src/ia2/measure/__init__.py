"""Evaluation metrics and their statistics: arrays in, numbers out.

Each function is one estimator, and its docstring is the definition. Nothing here imports models or files, so that
training, stages and reports call the same function for the same quantity.
"""
