"""Prompts of a task: splits, demonstrations, texts and their token ids."""
