"""Commands that call several others, or show what others made."""
