"""One page of everything, and the card of a run."""
