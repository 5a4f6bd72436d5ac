"""Who answers: loading a model, finding its attention blocks, recording them, decoding, and adapters."""
