"""A headless Chromium that watches what a page does: requests, words on the console, errors.

Debian's own browser; without one the tests are skipped, and in CI they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def missing(what: str) -> None:
    """Skip where a person works, fail in CI: there nothing may go unchecked."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what} is missing, and CI must look at the page (make browser)")
    pytest.skip(f"{what} is missing: make browser installs it")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the package playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing("Chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@dataclass
class Visit:
    """A page in the browser, and what it did."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def value(self, figure: str) -> float:
        """A figure of the slope's explorer, as the page computed it."""
        return float(self.page.locator(f"[data-figure={figure}]").get_attribute("data-value"))

    def calm(self) -> None:
        """Nothing was asked for but the page's own files, and nothing went wrong."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "blob:"))] == []


@pytest.fixture(scope="module")
def visit(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Visit]]:
    """Open a page, given as HTML or as a file, in a window of its own."""
    contexts: list[Any] = []
    folder = tmp_path_factory.mktemp("pages")

    def open_page(html: str | Path, width: int = 1280, theme: str = "light", **options: Any) -> Visit:
        path = html if isinstance(html, Path) else folder / f"page-{len(contexts)}.html"
        if isinstance(html, str):
            path.write_text(html, "utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        found = Visit(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.complaints.append("a dialog"), dialog.dismiss()))
        found.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            found.page.wait_for_selector("html[data-drawn]")
        return found

    yield open_page
    for context in contexts:
        context.close()
