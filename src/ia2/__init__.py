"""IA2, ICL Activation Alignment: turn what a language model does in context into weights.

The public names stand in __init__.pyi and are imported when first used: configs and the command line need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
