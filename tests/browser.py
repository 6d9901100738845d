"""A real browser for tests of pages: Debian's Chromium, driven by Playwright; skipped where either is missing.

SUMMAND_DEMAND_BROWSER in the environment turns the skip into a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


def chromium_path() -> str | None:
    """The program: CHROMIUM in the environment, else the first that is found."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, names) if path), None)


def missing() -> str | None:
    """Why there is no browser here, in words; None where there is one."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright's Python package is not installed (pip install playwright)"
    if chromium_path() is None:
        return "no Chromium on the path (apt-get install chromium, or CHROMIUM=/path/to/it)"
    return None


def require_browser() -> None:
    """Skip the test where there is no browser; fail where one is demanded."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("SUMMAND_DEMAND_BROWSER"):
        pytest.fail(f"a browser is demanded (SUMMAND_DEMAND_BROWSER), but {reason}")
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator[Any]:
    """A running headless browser (Playwright's `Browser`)."""
    require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose errors and requests are written down. host: whose requests are no surprise, besides the disk.

    errors: messages of the console at level error, and exceptions. abroad: addresses asked for elsewhere.
    """

    def __init__(self, page: Any, host: str = "") -> None:
        self.page = page
        self.errors: list[str] = []
        self.abroad: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._note(request.url, host))

    def _note(self, url: str, host: str) -> None:
        ours = ("file:", "data:", "blob:", "about:", *((f"http://{host}", f"ws://{host}") if host else ()))
        if not url.startswith(ours):
            self.abroad.append(url)


def overflow(page: Any) -> int:
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def untold(page: Any) -> list[str]:
    """Elements whose contrast axe-core could not tell, a line each: the element, and why. Marks that are no text, such
    as a minus, it leaves out by itself."""
    from axe_core_python.sync_playwright import Axe

    return [
        f"{node['html'][:160]}: {node['any'][0]['message']}"
        for found in Axe().run(page)["incomplete"]
        if found["id"] == "color-contrast"
        for node in found["nodes"]
        if "non-text characters" not in node["any"][0]["message"]
    ]


def serious(page: Any) -> list[str]:
    """What axe-core finds serious or critical, a line each: the rule, and the first element it fails on."""
    from axe_core_python.sync_playwright import Axe

    return [
        f"{found['id']}: {found['help']}, e.g. {found['nodes'][0]['html'][:200]} ({len(found['nodes'])} in all)"
        for found in Axe().run(page)["violations"]
        if found["impact"] in ("serious", "critical")
    ]
