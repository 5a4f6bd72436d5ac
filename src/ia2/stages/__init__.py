"""What a command does: each stage reads the store, calls the pure core and writes the store."""
