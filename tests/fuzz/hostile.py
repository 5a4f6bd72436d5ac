"""Hostile values: for flags by the type of their field, for JSON by the type of what stood there, for bytes."""

import json
import os
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ia2.config import Config

LONG = "x" * 5000
INTS = (
    *("0", "-1", "1", "2", "7", "-9223372036854775808", "1e3", "0x10", "１２", "٣", "1_000", " 5", "+5", "-0", "nan"),
    *("", "1.0", "true", "None", "2147483647", "4294967296", "9223372036854775807", "9223372036854775808"),
    *("18446744073709551616", "1" + "0" * 30, "9" * 5000),
)
FLOATS = (
    *("nan", "inf", "-inf", "0", "-1", "1e-320", "1e308", "1e400", "1e", "", "0x1p3", "1_0.0", "0.5", "1", "-0.0"),
    *("９.５", "9" * 400, "1e-400"),
)
TEXTS = (
    *("", " ", ".", "..", "../../x", "../elsewhere", "a/b", "a\nb", "a\tb", "\x1b[31mred", "\u202e", "\udcff", LONG),
    *("é" * 200, "👩‍💻", "%s %d {0} {x}", "$(touch x)", "-", "*", "[a", "~nosuchuser/x", "CON", "None", "<b>x</b>"),
    *("a" * 255, "null", "0", "-1", "act", "base", "all", "rows", "capitals", "q", "qkv", "tok"),
)
DEVICES = (
    *("cpu:3", "cuda:99", "meta", "xpu", "mps", "cpu:-1", "cuda:99999999999999999999", "", "CPU", "cpu:0", "cuda:-1"),
    *("gpu", "cpu:", "cpu:x", "cuda", "\udcff", "hpu:0", "privateuseone", "cpu:128", "cpu:255", LONG),
)
PATHS = (
    *("FILE", "LOOP", "FIFO", "EMPTY", "BROKEN", "HERE", "FILE/x", "LOOP/x", "/proc/nothing", "/proc/self/x"),
    *("/dev/null", "/dev/null/x", "/dev/zero", "/sys/x", "a.csv", "missing/a.csv", "EMPTY/a.html", "EMPTY/a.csv"),
    *("FIFO.csv", "DIR.csv", "DIR.html", "rows.csv", "~nosuchuser", "~nosuchuser/x.csv"),
)
UNBOUNDED = frozenset(
    {
        *("num_train_epochs", "num_runs", "num_workers", "max_parallel", "num_shuffles", "max_permutations", "stack"),
        *("num_unlabelled_samples", "gpus", "num_virtual_tokens", "lora_r", "lora_rs", "patience", "run_timeout"),
        *("num_generated_tokens", "num_generated_tokens_eval", "num_train_samples", "num_val_samples"),
    }
)
"""Fields of which a number of thousands is work of hours, and no mistake."""


def kinds_of(annotation: Any) -> set[Any]:
    """The plain types and literal values that an annotation is made of."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return {("literal", *get_args(annotation))}
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return set().union(*(kinds_of(one) for one in get_args(annotation) if one not in (..., type(None))))
    return {annotation}


def value(random: Random, config: type[Config], name: str) -> str:
    """One word for the flag of this field."""
    if name == "device":
        return random.choice(DEVICES)
    pool: list[str] = []
    for kind in kinds_of(config.model_fields[name].annotation):
        if kind is int:
            small = name in UNBOUNDED
            pool += [one for one in INTS if not small or len(one) < 4 or len(one) > 18]
        elif kind is float:
            pool += FLOATS
        elif kind is Path:
            pool += [*PATHS, *TEXTS, *PATHS]
        elif isinstance(kind, tuple):
            pool += [str(one) for one in kind[1:]] + [str(kind[1]).upper(), "", "\udcff", LONG]
        else:
            pool += TEXTS
    return random.choice(pool)


def make_places(folder: Path) -> None:
    """The files that PATHS name."""
    (folder / "FILE").write_text("a file")
    (folder / "LOOP").symlink_to("LOOP")
    for name in ("FIFO", "FIFO.csv"):
        os.mkfifo(folder / name)
    for name in ("EMPTY", "DIR.csv", "DIR.html"):
        (folder / name).mkdir()
    (folder / "BROKEN").symlink_to("nothing")


# Bytes


def cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def flip(random: Random, data: bytes) -> bytes:
    """One to four bits of the data flipped."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 4)) if data else 0):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def overwrite(random: Random, data: bytes) -> bytes:
    """A stretch of other bytes within the data, which keeps its size or grows."""
    place = random.randrange(len(data) + 1)
    piece = random.choice((b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\n", b"\r", b",", b"{", b"\x1b[2J", b"}" * 9))
    return data[:place] + piece * random.choice((1, 1, 3, 2000)) + data[place + random.choice((0, len(piece))) :]


def repeat_lines(random: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    place = random.randrange(len(lines))
    return b"".join(lines[:place] + [lines[place]] * random.choice((2, 50, 3000)) + lines[place:])


def empty(random: Random, data: bytes) -> bytes:
    return random.choice((b"", b"\n", b" ", b"\0" * len(data), b"null", b"[]", b"{}", b'""', b"0"))


def recode(random: Random, data: bytes) -> bytes:
    text = data.decode("utf-8", errors="replace")
    encoding = random.choice(("utf-16", "utf-16-le", "utf-32", "cp1252", "utf-8-sig", "utf-7", "cp037"))
    return text.replace("good", random.choice(("café", "日本", "ß"))).encode(encoding, errors="replace")


BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (cut, flip, flip, overwrite, repeat_lines, empty, recode)


# JSON


def deep(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.5, 1e308, 10**30, -(10**30), 2**63, 2**64, float("inf"), float("nan"), ""),
    *(
        " ",
        "x",
        LONG,
        "../../x",
        "a/b",
        "\x00",
        "a\nb",
        "\x1b[31m",
        "\u202e",
        "\ud800",
        "1",
        "nan",
        "{x}",
        "{0.__class__}",
    ),
    *("{x:>2000000000}", "<b>x</b>", [], [[]], [0], {}, {"x": 1}, [None], ["x"], [1] * 2000, "%s", "../elsewhere"),
)


def places_in(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within a JSON value, itself included."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(inner for key, child in children for inner in places_in(child, (*place, key)))]


def replace_in(value: Any, place: Sequence[Any], new: Any) -> Any:
    if not place:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = replace_in(value[place[0]], place[1:], new)
    return changed


def at(value: Any, place: Sequence[Any]) -> Any:
    for key in place:
        value = value[key]
    return value


def strange_json(random: Random, data: bytes) -> bytes:
    """The same JSON with a value replaced, left out, added, or doubled; or nested too deep."""
    value = json.loads(data)
    place = random.choice(places_in(value))
    old = at(value, place)
    match random.randrange(8):
        case 0 if place and isinstance(at(value, place[:-1]), dict):
            parent = dict(at(value, place[:-1]))
            del parent[place[-1]]
            value = replace_in(value, place[:-1], parent)
        case 1 if isinstance(old, dict):
            value = replace_in(value, place, {**old, random.choice(TEXTS): random.choice(STRANGE)})
        case 2 if isinstance(old, int | float) and not isinstance(old, bool):
            value = replace_in(
                value, place, random.choice((old + 1, -old, old * 10, float(old), str(old), old * 1e300))
            )
        case 3 if isinstance(old, str):
            value = replace_in(value, place, random.choice((old + " ", old.upper(), f"../{old}", old + LONG, old[:-1])))
        case 4 if random.random() < 0.3:
            text = json.dumps(replace_in(value, place, "DEEP"))
            return text.replace('"DEEP"', deep(random.choice((500, 10_000, 100_000)))).encode()
        case _:
            value = replace_in(value, place, random.choice(STRANGE))
    return json.dumps(value).encode()
