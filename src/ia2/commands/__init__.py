"""What a command does: read the store, call the pure core, write the store."""
