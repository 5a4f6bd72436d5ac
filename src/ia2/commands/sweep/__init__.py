"""A grid of runs, planned, done by one process or many, and resumed: `ia2 sweep`."""
