"""What came out: arrays in, numbers out.

Each function is one estimator and its docstring is the definition. Nothing here knows models, files or names, so that
training, stages and reports can all call the same function for the same quantity.
"""
