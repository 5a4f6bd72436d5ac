"""The command line: `ia2 <subcommand> --flags`, generated from the configs.

Arguments are parsed before anything heavy is imported, so that help and mistakes are answered at once. A mistake is one
line and exit code 2, a failure of the machine one line and exit code 1; a traceback is a bug of ours.
"""

import contextlib
import difflib
import errno
import io
import itertools
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from ia2.config import (
    Config,
    CreateConfig,
    DemoConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
)
from ia2.errors import MachineError, UserError

SUBCOMMANDS: dict[str, type[Config]] = {
    "demo": DemoConfig,
    "prepare": PrepareConfig,
    "create": CreateConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
}
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        config = parse_arguments(list(sys.argv[1:] if arguments is None else arguments))
        _prepare_output()
        run(config)
    except UserError as error:
        return _fail(str(error), 2)
    except MachineError as error:
        return _fail(str(error), 1)
    except OSError as error:
        if error.errno not in DISK:
            raise
        return _fail(f"{error.strerror}: {error.filename or 'the disk'}; what was finished is kept", 1)
    except MemoryError:
        return _fail("out of memory", 1)
    except KeyboardInterrupt:
        return _fail("interrupted; what was finished is kept, and the same command goes on from there", 130)
    return 0


def run(config: Config) -> None:
    """Do what a config says; only now is the rest imported."""
    match config:
        case PrepareConfig():
            from ia2.flows.data import prepare_all

            prepare_all(config)
        case CreateConfig():
            from ia2.flows.data import create_all

            create_all(config)
        case TrainConfig():
            from ia2.flows.training import train

            train(config)
        case EvaluateConfig():
            from ia2.flows.evaluation import evaluate

            evaluate(config)
        case PredictConfig():
            from ia2.flows.prediction import predict_from

            predict_from(config)
        case DemoConfig():
            from ia2.flows.demo import demo

            demo(config)


def _fail(message: str, code: int) -> int:
    print(f"ia2: {message}", file=sys.stderr)
    return code


def _prepare_output() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("ia2").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|peft")


# Arguments


def parse_arguments(arguments: list[str]) -> Config:
    """The config that the arguments describe; UserError in one line for a mistake, SystemExit after --help."""
    if not {"-h", "--help"} & set(arguments):
        _check_flags(arguments)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            parsed: Config = tyro.cli(
                _subcommands(),
                prog="ia2",
                description=(
                    "IA2, ICL Activation Alignment: turn what a language model does in context into weights. "
                    "Start with `ia2 demo`."
                ),
                args=arguments,
                use_underscores=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_unboxed(box.getvalue())) from None
    return parsed


def _subcommands() -> Any:  # noqa: ANN401 - a union made at run time
    union: Any = None
    for name, config in SUBCOMMANDS.items():
        one = Annotated[config, tyro.conf.subcommand(name)]  # type: ignore[valid-type]
        union = one if union is None else union | one
    return union


def _check_flags(arguments: Sequence[str]) -> None:
    """Refuse what tyro would misread or explain at length: unknown flags, a flag twice, a list flag without values."""
    if not arguments or arguments[0] not in SUBCOMMANDS:
        given = repr(arguments[0]) if arguments else "none"
        raise UserError(f"which command? Given: {given}; valid: {', '.join(SUBCOMMANDS)}. `ia2 --help` explains them")
    fields = SUBCOMMANDS[arguments[0]].model_fields
    seen: set[str] = set()
    for position, word in enumerate(arguments):
        if not word.startswith("--"):
            continue
        flag = word[2:].split("=")[0].replace("-", "_")
        if flag not in fields:
            near = difflib.get_close_matches(flag, fields, n=1)
            hint = f"did you mean --{near[0]}?" if near else f"`ia2 {arguments[0]} --help` lists the flags"
            raise UserError(f"ia2 {arguments[0]} has no --{flag}; {hint}")
        if flag in seen:
            raise UserError(f"--{flag} is given twice; a list takes all its values after one --{flag}")
        seen.add(flag)
        following = arguments[position + 1] if position + 1 < len(arguments) else "--"
        if following.startswith("--") and "=" not in word and fields[flag].annotation is not bool:
            raise UserError(f"--{flag} needs a value")


def _unboxed(text: str) -> str:
    """tyro's framed explanation as one line."""
    inside = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    told = itertools.takewhile(lambda line: not line.startswith(("Argument helptext", "For full helptext")), inside)
    return " ".join(line for line in told if line.strip("─")) or "these arguments cannot be read; see --help"


if __name__ == "__main__":
    sys.exit(main())
