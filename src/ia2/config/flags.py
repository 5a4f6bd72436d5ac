"""Flags of the fields of a config.

tyro makes a flag of each field. Two things are added here: the other spellings of a flag, so that `--help` shows those
that people know from the published tables; and a text that explains the default has no `(default: None)` after it.
"""

from typing import Annotated, Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from ia2.config.base import Config

FLAGS = ConstructorRegistry()
"""To be entered around `tyro.cli`."""


@FLAGS.struct_rule
def _flags_of(info: StructTypeInfo) -> StructConstructorSpec | None:
    config = info.type
    if not (isinstance(config, type) and issubclass(config, Config)):
        return None
    hints = get_type_hints(config, include_extras=True)
    return StructConstructorSpec(config, tuple(_flag_of(config, name, hints[name]) for name in config.model_fields))


def _flag_of(config: type[Config], name: str, hint: Any) -> StructFieldSpec:  # noqa: ANN401 - a type
    field = config.model_fields[name]
    told = field.description or ""
    shown = tyro.conf.arg(
        aliases=[f"--{alias}" for alias, meant in config.aliases.items() if meant == name],
        help_behavior_hint="" if "(default:" in told else None,
    )
    default = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
    annotated: Any = Annotated[hint, shown]
    return StructFieldSpec(name, annotated, default, told)
