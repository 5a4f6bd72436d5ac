"""The readers that need more than a few lines, and the comparison of what the last of them reads."""
