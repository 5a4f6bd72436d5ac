"""Inputs of five kinds, each made by a seeded random generator in a box: flags, files, models, stores, kills.

An input runs its commands and returns what they did that may not be, a text each; none where all is well.
"""

import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from boxes import Box, Outcome, faults, outside
from hostile import BYTES, LONG, STRANGE, TEXTS, deep, make_places, strange_json, value
from tiny_runs import assert_whole

from ia2.config import Config
from ia2.flows.commands import SUBCOMMANDS

ROWS = [{"text": f"row {i} is {'good' if i % 3 else 'bad'}", "label": "yes" if i % 3 else "no"} for i in range(40)]
TASK = """name = "rows"
template = "Text:{text}\\nLabel:"
answer = "{label}"
parser = "choice"
num_generated_tokens = 3
[labels]
yes = "good"
no = "bad"
[source]
file = "rows.csv"
num_validation = 10
"""
SMALL = ("--num_train_examples", "4", "--num_train_epochs", "1")


@dataclass(frozen=True)
class Materials:
    """What inputs are made from: a tiny model, files of rows, and a finished store with the frame of its results."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "tiny"

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def write_files(self) -> None:
        """The same rows in every format, and the task in both."""
        self.files.mkdir()
        frame = pd.DataFrame(ROWS)
        frame.to_csv(self.files / "rows.csv", index=False)
        frame.to_csv(self.files / "rows.tsv", index=False, sep="\t")
        frame.to_json(self.files / "rows.json", orient="records")
        frame.to_json(self.files / "rows.jsonl", orient="records", lines=True)
        frame.to_parquet(self.files / "rows.parquet")
        (self.files / "task.toml").write_text(TASK)
        content = {"name": "rows", "template": "Text:{text}\nLabel:", "answer": "{label}", "parser": "choice"}
        content |= {"num_generated_tokens": 3, "labels": {"yes": "good", "no": "bad"}}
        (self.files / "task.json").write_text(
            json.dumps({**content, "source": {"file": "rows.csv", "num_validation": 10}})
        )

    def make(self, box: Box) -> None:
        """A store with runs of three methods, records of them and their base, both analyses, tables and a page."""
        for name in self.files.iterdir():
            shutil.copy(name, box.here)
        for words in (
            ["fit", "rows.csv", "--lrs", "0.001", "--model_id", str(self.model), *SMALL],
            ["evaluate", "--num_eval_examples", "5", "--eval_with_icl", "--icl_max_demos", "4"],
            ["similarity", "--num_eval_examples", "3"],
            *(["subspace"], ["tables"], ["report"], ["status"], ["results", "--out", "results.parquet"]),
            ["predict", "--adapter", str(box.root / "adapter"), "--file", "rows.csv", "--out", "answers.csv"],
            ["merge", "--adapter", str(box.root / "adapter"), "--out", "merged"],
            ["plot", "--plot_types", "overlap"],
        ):
            outcome = box.run([*words, *rooted(words, box)])
            assert outcome.code == 0, outcome.stderr
        shutil.rmtree(box.root / "plots")
        shutil.copytree(box.root, self.store)
        shutil.copy(box.here / "results.parquet", self.folder)
        shutil.copy(box.here / "answers.csv", self.folder)


def rooted(words: Sequence[str], box: Box) -> list[str]:
    """The flag of the root, for the commands that take one of their own."""
    return [] if words[0] in ("predict", "merge") else ["--root", str(box.root)]


def check(box: Box, words: Sequence[str], allowed: Sequence[Path] = ()) -> tuple[Outcome, list[str]]:
    """Run a command, and say what it did that no command may do."""
    before = box.state(allowed)
    outcome = box.run(words)
    found = faults(outcome) + outside(box, outcome, allowed)
    after = box.state(allowed)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if changed and not found:
        found.append(f"outside the root: {changed[:3]}")
    return outcome, [f"{fault} | {quoted(words)}" for fault in found]


def quoted(words: Sequence[str]) -> str:
    text = shlex.join(words)
    return ascii(text[:400])[1:-1] + ("..." if len(text) > 400 else "")


def whole(box: Box) -> list[str]:
    """Whether what counts below the root is whole."""
    outcome = box.call(lambda: assert_whole(box.root))
    return [f"half-made: {outcome.stderr.strip().splitlines()[-3:]}"] if outcome.code else []


# Flags

COMMANDS = tuple(name for name in SUBCOMMANDS if name != "demo")


def base_words(command: str, box: Box, materials: Materials) -> list[str]:
    """A command of seconds on the finished store."""
    model, adapter = ["--model_id", str(materials.model)], ["--adapter", str(box.root / "adapter")]
    words = {
        "fit": ["rows.csv", *model, "--lrs", "0.002", *SMALL],
        "prepare": ["--datasets", "capitals"],
        "create": ["--datasets", "rows", "--num_train_examples", "6", "--num_runs", "1"],
        "train": ["--training_method", "act", "--dataset", "rows", *model, *SMALL],
        "sweep": ["--training_methods", "act", "--datasets", "rows", *model, *SMALL],
        "evaluate": ["--num_eval_examples", "2", "--model_types", "act"],
        "similarity": ["--num_eval_examples", "2", "--model_types", "act"],
        "plot": ["--plot_types", "overlap"],
        "plot-all": ["--model_types", "act", "--eval_datasets", "nothing"],
        "predict": [*adapter, "--text", "row 1 is good"],
        "merge": [*adapter, "--out", "merged"],
        "run": ["experiment.py:one", "--dry_run"],
    }
    return [command, *words.get(command, []), *rooted([command], box)]


def flags(random: Random, box: Box, materials: Materials) -> list[str]:
    """One to three fields of a command with hostile values."""
    box.fill(materials.store, *materials.files.iterdir())
    make_places(box.here)
    (box.here / "experiment.py").write_text(
        "from ia2.config import PrepareConfig\ndef one():\n    return [PrepareConfig(datasets=('capitals',))]\n"
    )
    command = random.choice(COMMANDS)
    config, words = SUBCOMMANDS[command], base_words(command, box, materials)
    fields = [name for name in config.model_fields if name not in ("ray_address", "track", "wandb_log")]
    allowed = [box.here / "merged"]
    for name in random.sample(fields, min(len(fields), random.choice((1, 1, 1, 2, 3)))):
        given = _flag(random, config, name)
        allowed += [box.here / Path(one) for one in given if _is_path(config, name)]
        words = _with_flag(words, config, name, given)
    if random.random() < 0.1:
        words.insert(random.randrange(len(words)), random.choice((*TEXTS, "--", "--help", "--nothing", "-x", LONG)))
    return _run_flags(box, words, allowed)


def _is_path(config: type[Config], name: str) -> bool:
    return name in ("root", "out", "init", "file", "adapter") or "Path" in str(config.model_fields[name].annotation)


def _flag(random: Random, config: type[Config], name: str) -> list[str]:
    annotation = config.model_fields[name].annotation
    if annotation is bool:
        return random.choice(([], ["True"], ["no"], ["", ""]))
    several = "tuple" in str(annotation)
    number = random.choice((0, 1, 1, 1, 2, 300)) if several else random.choice((1,) * 12 + (0, 2))
    return [value(random, config, name) for _ in range(number)]


def _with_flag(words: Sequence[str], config: type[Config], name: str, given: Sequence[str]) -> list[str]:
    """The words with this flag's values in place of those it has."""
    if "Positional" in str(config.model_fields[name].metadata):
        return [words[0], *given, *words[2:]]
    if f"--{name}" not in words:
        return [*words, f"--{name}", *given]
    place = words.index(f"--{name}")
    end = next((i for i in range(place + 1, len(words)) if words[i].startswith("--")), len(words))
    return [*words[: place + 1], *given, *words[end:]]


def _run_flags(box: Box, words: list[str], allowed: list[Path]) -> list[str]:
    outcome, found = check(box, words, [path for path in allowed if len(str(path)) < 4000])
    return found or (whole(box) if outcome.code in (0, 1, 2) else [])


# Files


def files(random: Random, box: Box, materials: Materials) -> list[str]:
    """A file of rows, or a task file, damaged or strange, given to a command that reads it."""
    box.fill(materials.store, *materials.files.iterdir())
    path = box.here / random.choice([path.name for path in sorted(materials.files.iterdir())])
    data = path.read_bytes()
    strange = random.random() < 0.6
    if path.name.startswith("task"):
        data = strange_task(random, path.suffix, data) if strange else random.choice(BYTES)(random, data)
    elif strange:
        data = strange_rows(random, path, data)
    else:
        data = random.choice(BYTES)(random, data)
    path.write_bytes(data)
    name = path.name
    model = ["--model_id", str(materials.model)]
    predict = ["predict", "--adapter", str(box.root / "adapter"), "--file", name, "--out", "out.csv"]
    if name.startswith("task"):
        choices = [["prepare", "--datasets", name, "--overwrite"], ["reparse", "--eval_datasets", name]]
        choices += [["fit", name, "--lrs", "0.002", *model, *SMALL, "--overwrite"]]
    else:
        init = ["tasks", "--init", name]
        choices = [init, init, predict, predict, ["fit", name, "--lrs", "0.002", *model, *SMALL, "--overwrite"]]
    words = random.choice(choices)
    out = [box.here / "out.csv", *(box.here / f"rows.{end}" for end in ("toml", "json") if words[0] == "tasks")]
    outcome, found = check(box, [*words, *rooted(words, box)], out)
    if words[0] == "prepare" or (outcome.code and "--overwrite" in words):
        # splits of a pool that was replaced on request, and no more than that, are refused by name, which is right
        shutil.rmtree(box.root / "data" / "rows" / "train")
    return found or whole(box)


def strange_task(random: Random, suffix: str, data: bytes) -> bytes:
    if suffix == ".json":
        return strange_json(random, data)
    text = data.decode()
    many = "\n".join(f'label{i} = "x"' for i in range(100_000))
    old, new = random.choice(
        [
            ('yes = "good"\nno = "bad"', many),
            (
                "{text}",
                random.choice(
                    ("{text", "{}", "{0}", "{text!r}", "{text:>2000000000}", "{text.x}", "{{text}}", "{x[0]}")
                ),
            ),
            (
                "{label}",
                random.choice(("{label", "{label:>2000000000}", "{label:{text}}", "", "{label}" * 5000, "{text}")),
            ),
            ("rows", random.choice(TEXTS).replace('"', "").replace("\udcff", "").encode("unicode_escape").decode()),
            ("3", random.choice(("0", "-1", "1e9", "9" * 5000, "nan", "inf", "0x7fffffffffffffffffff", "'3'"))),
            ("10", random.choice(("0", "-1", "39", "40", "41", "1" + "0" * 30, "inf", "true"))),
            ("choice", random.choice(("line", "number", "boxed", "after_marker", "regex", "exact", "", "eval"))),
            (
                '"choice"',
                '"regex"\npattern = ' + random.choice(('"(a+)+$"', '"("', '"(?P<x"', '"[" ', '"' + "(" * 5000 + '"')),
            ),
            (
                "rows.csv",
                random.choice(
                    ("missing.csv", "../elsewhere/notes", "/dev/zero", ".", "", "rows.parquet", "a\\u0000b.csv")
                ),
            ),
            ("[source]", f"x = {deep(random.choice((100, 20_000)))}\n[source]"),
            ("label", random.choice(("text", "nothing", "Label", "label\\u202e"))),
        ]
    )
    return text.replace(old, new, random.choice((1, -1))).encode(errors="surrogateescape")


def strange_rows(random: Random, path: Path, data: bytes) -> bytes:
    """Rows with strange cells, names, numbers or nesting."""
    if path.suffix in (".json", ".jsonl") and random.random() < 0.6:
        if path.suffix == ".json":
            return strange_json(random, data)
        lines = data.splitlines()
        lines[random.randrange(len(lines))] = strange_json(random, lines[0])
        return b"\n".join(lines)
    cells: list[Any] = [*STRANGE, "x" * 200_000, "{x}", "=1+1", "1,5", "\u2028", "\r\n", "a\n\n\nb", "NA", "\N{BOM}"]
    rows: list[dict[str, Any]] = [dict(row) for row in ROWS]
    match random.randrange(7):
        case 0:
            for row in random.sample(rows, random.choice((1, 5, 40))):
                row[random.choice(("text", "label"))] = random.choice(cells)
        case 1:
            rows = [{**row, "label": f"label{i}"} for i, row in enumerate(rows * random.choice((1, 50)))]
        case 2:
            rows = [{**row, random.choice(TEXTS): random.choice(cells)} for row in rows]
        case 3:
            rows = rows[: random.choice((0, 1, 2, 3, 5))]
        case 4:
            rows = [{**row, "label": 1e308 * 10, "idx": random.choice((float("inf"), -1, 2**64))} for row in rows]
        case 5:
            rows = [{random.choice(TEXTS) if key == "text" else key: cell for key, cell in row.items()} for row in rows]
        case _:
            rows = [row | {f"column{i}": i for i in range(random.choice((3, 3000)))} for row in rows]
    return encoded(rows, path)


def encoded(rows: Sequence[dict[str, Any]], path: Path) -> bytes:
    """The rows in the format of the file, its own bytes where it cannot hold them."""
    try:
        match path.suffix:
            case ".json":
                return json.dumps(rows).encode()
            case ".jsonl":
                return "\n".join(map(json.dumps, rows)).encode()
            case ".parquet":
                pd.DataFrame(rows).to_parquet(path)
                return path.read_bytes()
            case end:
                sep = "\t" if end == ".tsv" else ","
                return pd.DataFrame(rows).to_csv(index=False, sep=sep).encode(errors="surrogatepass")
    except Exception:  # whatever pandas and pyarrow refuse to write, in many ways
        return path.read_bytes()


# Models


def models(random: Random, box: Box, materials: Materials) -> list[str]:
    """A model's folder with one file damaged, strange, missing, swapped or of another kind."""
    box.fill(materials.store, *materials.files.iterdir(), materials.model)
    folder = box.here / materials.model.name
    path = random.choice(sorted(folder.iterdir()))
    damage_model(random, folder, path)
    model = ["--model_id", str(folder)]
    small = ["--num_eval_examples", "2", "--num_train_examples", "4"]
    words = random.choice(
        [
            ["train", "--training_method", "tok", "--dataset", "rows", *model, *SMALL],
            ["train", "--training_method", "tok", "--dataset", "rows", *model, *SMALL, "--chat_template"],
            ["evaluate", "--model_types", "base", *model, "--trained_datasets", "rows", *small[:2]],
            ["prepare", "--datasets", "capitals", *model],
            ["predict", "--adapter", str(box.root / "adapter"), "--text", "row 1 is good", *model],
        ]
    )
    _, found = check(box, [*words, *rooted(words, box)])
    return [f"{fault} [{path.name}]" for fault in found or whole(box)]


def damage_model(random: Random, folder: Path, path: Path) -> None:
    data = path.read_bytes()
    match random.randrange(10):
        case 0:
            path.unlink()
        case 1:
            path.unlink()
            random.choice((os.mkfifo, Path.mkdir, lambda p: p.symlink_to(p.name), lambda p: p.symlink_to("/dev/zero")))(
                path
            )
        case 2:
            path.write_bytes(random.choice(sorted(folder.iterdir())).read_bytes())
        case 3 if path.suffix == ".safetensors":
            damage_tensors(random, path)
        case 4 | 5 | 6 | 7 if path.suffix == ".json":
            path.write_bytes(strange_json(random, data))
        case 8:
            add_template(random, folder)
        case _:
            path.write_bytes(random.choice(BYTES)(random, data))


def damage_tensors(random: Random, path: Path) -> None:
    """Numbers that are none, a tensor too many, too few, of another shape or type."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    name = random.choice(sorted(tensors))
    tensor = tensors[name]
    match random.randrange(6):
        case 0:
            tensor.view(-1)[random.randrange(tensor.numel())] = random.choice((float("nan"), float("inf"), 1e38))
        case 1:
            del tensors[name]
        case 2:
            tensors[random.choice(("x", f"{name}.x", "model.layers.99.mlp.up_proj.weight"))] = torch.ones(2)
        case 3:
            tensors[name] = tensor.reshape(-1)[:-1].contiguous()
        case 4:
            tensors[name] = tensor.to(random.choice((torch.int64, torch.float64, torch.bool, torch.float16)))
        case _:
            tensors = {key: torch.full_like(one, float("nan")) for key, one in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


TEMPLATES = (
    "{{ raise_exception('no') }}",
    "{% for m in messages %}{{ m.nothing.x }}{% endfor %}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{% if %}",
    "{{ messages[99].content }}",
    "",
    "{{ ''.__class__.__mro__ }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "constant",
    "{% for m in messages %}{{ m.content | nothing }}{% endfor %}",
    "\x1b[31m{{ messages }}",
)


def add_template(random: Random, folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    template: Any = random.choice((*TEMPLATES, *TEMPLATES, 5, [], {"default": 1}, [{"name": "default"}]))
    if isinstance(template, str) and random.random() < 0.5:
        (folder / "chat_template.jinja").write_text(template)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))


# Stores


def stores(random: Random, box: Box, materials: Materials) -> list[str]:
    """A file of a finished store damaged: it is named, or the numbers are those of the undamaged store."""
    box.fill(materials.store, *materials.files.iterdir())
    paths = sorted(path for path in box.root.rglob("*") if path.is_file() and is_read(path))
    records = [path for path in paths if "evaluations" in path.parts or "adapter" in path.parts]
    path = random.choice(records if random.random() < 0.4 else paths)
    damage_store(random, box, path)
    name = str(path.relative_to(box.root))
    results = ["results", "--out", "results.parquet"]
    outcome, found = check(box, [*results, "--root", str(box.root)], [box.here / "results.parquet"])
    if outcome.code == 0 and not names(outcome, box, path):
        found += believed(box.here / "results.parquet", materials, box.root)
    predict = ["predict", "--adapter", str(box.root / "adapter"), "--file", "rows.csv", "--out", "answers.csv"]
    words = random.choice(
        [
            *([name] for name in ("report", "status", "subspace", "tables", "clean")),
            ["evaluate", "--num_eval_examples", "5", "--eval_with_icl", "--icl_max_demos", "4"],
            ["evaluate", "--num_eval_examples", "3", "--model_types", "act", "base"],
            ["similarity", "--num_eval_examples", "3"],
            ["plot", "--plot_types", "cost", "similarity", "overlap"],
            ["reparse", "--parser", "line"],
            ["train", "--training_method", "act", "--dataset", "rows", "--model_id", str(materials.model), *SMALL],
            ["fit", "rows.csv", "--lrs", "0.001", "--model_id", str(materials.model), *SMALL],
            ["fit", "rows.csv", "--lrs", "0.001", "--model_id", str(materials.model), *SMALL, "--overwrite"],
            *([predict] * 4 if "adapter" in path.parts else []),
        ]
    )
    allowed = [box.here / "answers.csv"]
    outcome, more = check(box, [*words, *rooted(words, box)], allowed)
    if words[0] == "predict" and outcome.code == 0 and not names(outcome, box, path):
        answers = box.here / "answers.csv"
        if answers.read_bytes() != (materials.folder / "answers.csv").read_bytes():
            more.append("believed: other answers of `predict`")
    return [f"{fault} [{name}]" for fault in found + more]


def is_read(path: Path) -> bool:
    """Whether a command reads it: not what is for people, nor a lock."""
    return (
        path.suffix in (".json", ".jsonl", ".parquet", ".safetensors", ".toml", ".csv") and "reports" not in path.parts
    )


def damage_store(random: Random, box: Box, path: Path) -> None:
    data = path.read_bytes()
    match random.randrange(10):
        case 0:
            path.unlink()
        case 1:
            others = [other for other in box.root.rglob(f"*{path.suffix}") if other.is_file()]
            path.write_bytes(random.choice(sorted(others)).read_bytes())
        case 2 | 3 | 4 if path.suffix == ".json":
            path.write_bytes(strange_json(random, data))
        case 5 if path.suffix == ".json":
            path.write_bytes(escape(random, data, box))
        case 6 | 7 if path.suffix in (".json", ".jsonl"):
            path.write_bytes(other_digit(random, data))
        case _:
            path.write_bytes(random.choice(BYTES)(random, data))


def other_digit(random: Random, data: bytes) -> bytes:
    """The data with one digit that is another."""
    places = [place for place, byte in enumerate(data) if chr(byte).isdigit()] or [0]
    place = random.choice(places)
    return data[:place] + random.choice("0123456789").encode() + data[place + 1 :]


def escape(random: Random, data: bytes, box: Box) -> bytes:
    """A dataset's or method's name in the file, replaced by one that leaves the root, or that a terminal obeys."""
    text = data.decode()
    names = (
        "../../x",
        "../elsewhere",
        str(box.folder / "place" / "elsewhere" / "x"),
        "a\u0000b",
        "\x1b[31mx",
        "..",
        "a/b",
        "",
        LONG,
    )
    old = random.choice(('"rows"', '"act"', '"tok"', '"base"', '"a2t"'))
    return text.replace(old, json.dumps(random.choice(names)), random.choice((1, -1))).encode()


def names(outcome: Outcome, box: Box, path: Path) -> bool:
    """Whether the command named the damaged file, its folder, or the one beside it."""
    text = outcome.stdout + outcome.stderr
    given = (path, path.with_suffix(".json"), path.with_suffix(".parquet"))
    return any(str(one) in text for one in given) or (path.parent.name != "rows" and str(path.parent) in text)


def believed(path: Path, materials: Materials, root: Path) -> list[str]:
    """Numbers of the results that are not those of the undamaged store; nobody can name a record that was deleted."""
    frame, right = pd.read_parquet(path), pd.read_parquet(materials.folder / "results.parquet")
    columns = [name for name in right.columns if name != "command"]  # it holds the root
    there = [row for row in right[columns].to_dict("records") if (root / row["record"]).exists()]
    known = {(row["record"], row["metric"]): row for row in there}
    wrong = []
    for row in frame.to_dict("records"):
        other = known.get((row["record"], row["metric"]), {})
        wrong += [
            f"believed: {name} = {row[name]!r} for {other.get(name)!r}"
            for name in columns
            if name not in row or repr(row[name]) != repr(other.get(name))
        ]
    missing = known.keys() - {(row["record"], row["metric"]) for row in frame.to_dict("records")}
    wrong += [f"missing without a word: {min(missing)}"] if missing else []
    return wrong[:2]


# Faulty on purpose


def faulty(_random: Random, box: Box, _materials: Materials) -> list[str]:
    """What a harness has to find: work that does each of the things that no command may do."""

    def told(text: str) -> int:
        sys.stderr.write(text)
        return 2

    elsewhere = box.folder / "place" / "elsewhere"
    works: tuple[Callable[[], Any], ...] = (
        lambda: int("no number"),
        lambda: told("ia2: no\nand more\n"),
        lambda: told(f"ia2: {LONG}\n"),
        lambda: told("ia2: \x1b[31m\n"),
        lambda: (elsewhere / "new").write_text("") or 0,
        lambda: shutil.rmtree(elsewhere),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    outcome = box.call(works[int(box.folder.name.split("-")[1])])
    return faults(outcome) + outside(box, outcome, ())


NUM_FAULTY = 7

KINDS: dict[str, Callable[[Random, Box, Materials], list[str]]] = {
    "flags": flags,
    "files": files,
    "models": models,
    "stores": stores,
    "faulty": faulty,
}
