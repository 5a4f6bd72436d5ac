"""Who answers: loading a model, finding its attention blocks, recording them, generation, and adapters."""
