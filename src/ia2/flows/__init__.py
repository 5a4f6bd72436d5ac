"""Stages together: only here is one stage called after another."""
