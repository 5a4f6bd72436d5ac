"""Built-in datasets, one file each: a task file, or a module where the rows need code."""
