"""How a task is shown: splits, demonstrations, prompts and their token ids."""
