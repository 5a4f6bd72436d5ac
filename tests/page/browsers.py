"""Chromium, started for a test: a profile of its own, no network, and everything that goes wrong written down."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"no Chromium ({', '.join(NAMES)}) on PATH; install it: apt-get install chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


def executable() -> str:
    """Where Chromium is. Where it is not, the test is skipped, or fails if IA2_REQUIRE_BROWSER=1."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("IA2_REQUIRE_BROWSER") == "1":
        pytest.fail(MISSING)
    return found or pytest.skip(MISSING)


@dataclass
class Tab:
    """A page from disk; `wrong` holds errors of its scripts and what it asked of a network."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, context: BrowserContext, file: Path) -> "Tab":
        tab = cls(context.new_page())
        tab.page.on("console", lambda message: tab.wrong.append(message.text) if message.type == "error" else None)
        tab.page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.page.route("**/*", lambda route: tab._only(file, route))
        tab.page.goto(file.as_uri())
        return tab

    def _only(self, file: Path, route: Route) -> None:
        if route.request.url.split("#")[0] == file.as_uri():
            route.continue_()
        else:
            self.wrong.append(f"request for {route.request.url}")
            route.abort()


@contextmanager
def chromium(playwright: Playwright, profile: Path, *, scripts: bool = True) -> Iterator[BrowserContext]:
    """A headless Chromium with this empty folder as its profile."""
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=executable(),
        headless=True,
        java_script_enabled=scripts,
        viewport={"width": 1280, "height": 900},
        args=FLAGS,
    )
    context.set_default_timeout(5000)
    yield context
    context.close()
