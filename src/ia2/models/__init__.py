"""The model that answers: loading it, finding its attention blocks, recording them, generation, and adapters."""
