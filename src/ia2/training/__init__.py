"""Training: targets, datasets, losses, the table of variants, and the loop that trains adapters."""
