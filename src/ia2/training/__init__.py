"""What is matched: targets, losses, the table of variants, and the loop that fits an adapter."""
