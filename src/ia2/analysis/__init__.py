"""What is learned of a trained run beside its answers: similarity of activations, overlap of updates."""
