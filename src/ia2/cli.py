"""The command line: `ia2 COMMAND flags`, generated from the configs.

Arguments are parsed before anything heavy is imported, so that help and mistakes are answered at once. A mistake is one
line and exit code 2, a failure of the machine one line and exit code 1; a traceback is a bug of ours.
"""

import contextlib
import difflib
import errno
import functools
import io
import itertools
import logging
import operator
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from ia2.config import CONTINUE_SAME, Config
from ia2.errors import MachineError, UserError, did_you_mean
from ia2.flows.commands import SUBCOMMANDS, run

PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP}
PLACE |= {errno.EINVAL, errno.ENXIO, errno.ENODEV}
"""Errors of the system that another path mends; all others are the machine's."""
LONGEST_MESSAGE = 900


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        _prepare_output()
        config = parse_arguments(list(sys.argv[1:] if arguments is None else arguments))
        return _run_to_its_end(config)
    except (UserError, MachineError, OSError, MemoryError, RecursionError, KeyboardInterrupt) as error:
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Report a failure in one line and return its exit code; raise any other that is not known here."""
    match error:
        case UserError():
            message, code = str(error), 2
        case MachineError():
            message, code = str(error), 1
        case MemoryError():
            message, code = "out of memory", 1
        case RecursionError():
            message, code = "something that was read is nested too deeply", 2
        case KeyboardInterrupt():
            message, code = "interrupted; what was finished is kept, and the same command goes on from there", 130
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of it when it ends
            return 128 + signal.SIGPIPE
        case OSError(errno=int(number)):  # in the system's words: pyarrow has words of its own
            message = f"{os.strerror(number)}: {error.filename or 'the disk'}"
            message, code = (
                (f"{message}; give another --root or another file", 2)
                if number in PLACE
                else (f"{message}; what was finished is kept", 1)
            )
        case _:
            raise error
    line = printable(" ".join(message.splitlines()))
    if len(line) > LONGEST_MESSAGE:  # the remedy is at its end
        line = f"{line[: LONGEST_MESSAGE - 300]} ... {line[-300:]}"
    print(f"ia2: {line}", file=sys.stderr)
    return code


UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys, that turn the direction of writing, or that are half of one."""


def printable(text: str) -> str:
    """The text with an escape for each unprintable character."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Lines(logging.Formatter):
    """Printable messages, though names and texts of strangers are in them."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _prepare_output() -> None:
    """Set up logging; on stdout, replace what its encoding lacks (stderr escapes it of itself)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Lines())
    logging.getLogger("ia2").setLevel(logging.INFO)


class _Pipe(io.FileIO):
    """Standard output whose reader may leave before the command has ended, as `head` does: the rest goes nowhere."""

    is_left = False

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        try:
            return super().write(data)
        except BrokenPipeError:
            self.is_left = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


def _run_to_its_end(config: Config) -> int:
    """Run a command even where nobody reads its output to the end, since its results are kept."""
    out = sys.stdout
    shows_only = getattr(config, "repl", False)
    if shows_only or not isinstance(out, io.TextIOWrapper) or not isinstance(out.buffer, io.BufferedWriter):
        run(config)
        return 0
    out.flush()
    pipe = _Pipe(out.fileno(), "w", closefd=False)
    text = io.TextIOWrapper(io.BufferedWriter(pipe), out.encoding, "replace", line_buffering=out.line_buffering)
    with contextlib.redirect_stdout(text), text:
        run(config)
    return 128 + signal.SIGPIPE if pipe.is_left else 0


# Arguments


FLAGS = ConstructorRegistry()


@FLAGS.struct_rule
def _flags_of(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A flag of each field of a config, with its other spellings; no second default where the text explains it."""
    config = info.type
    if not (isinstance(config, type) and issubclass(config, Config)):
        return None
    hints, flags = get_type_hints(config, include_extras=True), []
    for name, field in config.model_fields.items():
        text = field.description or ""
        shown = tyro.conf.arg(
            aliases=[f"--{alias}" for alias, meant in config.aliases.items() if meant == name],
            help_behavior_hint="" if "(default:" in text else None,
        )
        default = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
        annotated: Any = Annotated[hints[name], shown]
        flags.append(StructFieldSpec(name, annotated, default, text))
    return StructConstructorSpec(config, tuple(flags))


def parse_arguments(arguments: list[str]) -> Config:
    """The config that the arguments describe; UserError in one line for a mistake, SystemExit after help or version."""
    if arguments == ["--version"]:
        from ia2.sources.packages import version_of

        print(f"ia2 {version_of('ia2')}")
        raise SystemExit(0)
    words = arguments if {"-h", "--help"} & set(arguments) else _checked(arguments)
    subcommands: Any = functools.reduce(
        operator.or_, (Annotated[config, tyro.conf.subcommand(name)] for name, config in SUBCOMMANDS.items())
    )
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box), FLAGS:
            parsed: Config = tyro.cli(
                subcommands,
                prog="ia2",
                description=(
                    "IA2, ICL Activation Alignment: turn what a language model does in context into weights. "
                    "Start with `ia2 demo`; `ia2 --version` says which version this is."
                ),
                args=words,
                use_underscores=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # tyro's explanation as one line: in a frame, or indented on a terminal that cannot show frames
        lines = (line.strip("│ ") for line in box.getvalue().splitlines() if line.startswith(("│", "  ")))
        told = itertools.takewhile(lambda line: not line.startswith(("Argument helptext", "For full helptext")), lines)
        explained = " ".join(line for line in told if line.strip("─-"))
        raise UserError(explained or "these arguments cannot be read; see --help") from None
    return parsed


OPTIONAL_VALUES = {"continue_training": CONTINUE_SAME}
"""Flags that need no value, and the value they have then."""


def _checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, with values of flags that need none.

    Refused is what tyro would misread or explain at length: unknown flags, a flag twice, a list flag without values.
    """
    if not arguments or arguments[0] not in SUBCOMMANDS:
        given = f"{arguments[0]!r}{did_you_mean(arguments[0], SUBCOMMANDS)}" if arguments else "none"
        raise UserError(f"which command? Given: {given}; valid: {', '.join(SUBCOMMANDS)}. `ia2 --help` explains them")
    config = SUBCOMMANDS[arguments[0]]
    words, seen = list[str](), dict[str, str]()
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue="--"):
        words.append(word)
        if not word.startswith("--"):
            continue
        name, is_given, _ = word[2:].partition("=")
        flag = name.replace("-", "_")
        field = config.aliases.get(flag, flag)
        if field not in config.model_fields:
            near = difflib.get_close_matches(flag, [*config.model_fields, *config.aliases], n=1)
            hint = f"did you mean --{near[0]}?" if near else f"`ia2 {arguments[0]} --help` lists the flags"
            raise UserError(f"ia2 {arguments[0]} has no --{flag}; {hint}")
        if field in seen:
            given = f"--{flag} is given twice" if seen[field] == flag else f"--{seen[field]} and --{flag} are one flag"
            raise UserError(f"{given}; a list takes all its values after one --{field}")
        seen[field] = flag
        if following.startswith("--") and not is_given and config.model_fields[field].annotation is not bool:
            if flag not in OPTIONAL_VALUES:
                raise UserError(f"--{flag} needs a value")
            words.append(OPTIONAL_VALUES[flag])
    return words


if __name__ == "__main__":
    sys.exit(main())
