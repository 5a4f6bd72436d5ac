"""What came out: evaluation sets, the answers of a model to them, metrics, calibration and statistics."""
