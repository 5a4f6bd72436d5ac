"""Sequences of token ids that mean nothing."""

from random import Random

from ia2.prompts.prompt import Ids


def made_up_ids(seed: str, *lengths: int) -> list[Ids]:
    """Sequences of ordinary ids (no special token), decided by `seed` alone."""
    draw = Random(seed)
    return [tuple(draw.randrange(3, 320) for _ in range(length)) for length in lengths]
