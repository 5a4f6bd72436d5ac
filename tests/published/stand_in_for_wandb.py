"""A package called wandb, as far as accelerate calls it, which sends nothing: there is no network here."""

from pathlib import Path

CODE = '''"""Not wandb."""
from types import SimpleNamespace


class config:
    update = staticmethod(lambda *values, **named: None)


def init(**named):
    return SimpleNamespace(log=lambda *values, **named: None, finish=lambda: None)
'''


def write_stand_in(folder: Path) -> Path:
    """Write the package below `folder`, which is to stand on Python's path."""
    for name, text in (("wandb/__init__.py", CODE), ("wandb-0.dist-info/METADATA", "Name: wandb\nVersion: 0\n")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
