"""Sentiment of sentences of four kinds, each the mean of some twenty ratings from -4 to 4: the data of VADER.

A rating of 1 or more is positive, of -1 or less negative, and the rest is left out. As many of each class are
drawn, seeded, and 500 are held out, half of each class. The files are in an archive inside vaderSentiment's source
archive; they are UTF-8, in lines that end in `\\r\\n`.

The traps: `&amp;`, `&lt;` and, made twice, `&amp;#38;` are characters, and read as such: no user writes them.
Some sentences come twice, and 154 tweets are another one in other letter case or punctuation, written to see what that
does to a rating: of sentences with the same words one is taken, lest training and validation share them. (Different
sentences of one review or article they may share.) movies has its sentences from where sst2 has them, so that it is no
out-of-distribution set for sst2: the four are a group of their own.
"""

import html
import re
from collections.abc import Callable, Sequence
from itertools import chain
from random import Random

from ia2.sources import PackageSource, SourceRow, Table, read_nested_member, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, Items
from ia2.tasks.task_files import About, TaskFormat

_PACKAGE = PackageSource(
    name="vaderSentiment",
    version="3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_COLUMNS = ("id", "rating", "text")
_LABELS = {"0": "negative", "1": "positive"}
_NUM_VALIDATION = 500
_SEED = 42


def _loader(name: str) -> Callable[[], Items]:
    def load() -> Items:
        member = f"hutto_ICWSM_2014/{name}_GroundTruth.txt"
        lines = read_nested_member(_PACKAGE, _ARCHIVE, member).decode("utf-8").split("\r\n")
        rows = [dict(zip(_COLUMNS, line.split("\t"), strict=True)) for line in lines]
        table = Table(rows, source=f"package {_PACKAGE}, {member}", revision=_PACKAGE.sha256)
        items = _balanced(table.converted(_item))
        return Items(items[:-_NUM_VALIDATION], items[-_NUM_VALIDATION:], table.provenance)

    return load


def _item(row: SourceRow) -> Item | None:
    rating = float(text_of(row, "rating"))
    if abs(rating) < 1:
        return None
    return Item({"sentence": _plain(text_of(row, "text"))}, "1" if rating > 0 else "0")


def _plain(text: str) -> str:
    """One line, with characters in place of entities; some were made twice."""
    return " ".join(html.unescape(html.unescape(text)).split())


def _balanced(items: Sequence[Item]) -> list[Item]:
    """As many sentences of different words from each class, in seeded random order, the classes taking turns."""
    distinct = {tuple(re.findall(r"\w+", item.fields["sentence"].casefold())): item for item in items}.values()
    classes = [[item for item in distinct if item.answer == label] for label in _LABELS]
    draw = Random(_SEED)
    size = min(map(len, classes))
    return list(chain.from_iterable(zip(*(draw.sample(one, size) for one in classes), strict=True)))


def _dataset(name: str, member: str, example: Item, terms: str, size: str) -> Dataset:
    return Dataset(
        TaskFormat(
            name=name,
            template="Text:{sentence}\nLabel:",
            answer="{answer}",
            parser="choice",
            num_generated_tokens=1,
            labels=_LABELS,
            about=About(
                family="sentence sentiment",
                source=f"package vaderSentiment 3.3.2, {member}",
                licence=f"package: MIT; texts: {terms}",
                size=size,
                ood_group="sentence_sentiment",
            ),
        ),
        load=_loader(member),
        example=example,
    )


DATASETS = (
    _dataset(
        "movies",
        "movieReviewSnippets",
        Item({"sentence": "Witty, touching and well paced."}, "1"),
        terms="critics' on Rotten Tomatoes (Pang and Lee), no terms stated",
        size="8,648 / 500",
    ),
    _dataset(
        "tweets",
        "tweets",
        Item({"sentence": "Bad bus! Smelly bus! Bad, bad bus. No biscuit!"}, "0"),
        terms="by users of Twitter, names and addresses removed, and by the authors; no terms stated",
        size="1,024 / 500",
    ),
    _dataset(
        "amazon",
        "amazonReviewSnippets",
        Item({"sentence": "the moveable lcd screen is great."}, "1"),
        terms="customers' reviews on Amazon (Hu and Liu 2004), no terms stated",
        size="1,374 / 500",
    ),
    _dataset(
        "nyt",
        "nytEditorialSnippets",
        Item({"sentence": "Their objection defies reason."}, "0"),
        terms="The New York Times, excerpts of editorials, no terms stated",
        size="606 / 500",
    ),
)
