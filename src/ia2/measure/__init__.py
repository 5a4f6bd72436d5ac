"""What came out: arrays in, numbers out.

Each function is one estimator and its docstring is the definition. Nothing here knows models or files, so that
training, stages and reports can all call the same function for the same quantity. Only `metrics` and `passes` know by
which names the numbers are published, and which of them a record holds.
"""
