"""Language models: loading, architecture, hooks, generation and adapters."""
