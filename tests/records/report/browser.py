"""A real browser for pages: Chromium driven by playwright; tests that need it are skipped where it is missing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def opened(
    place: Path | str, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[tuple[Any, list[str]]]:
    """Yield (the page, whatever it logged, asked the network for, or failed at). place: a file, or an address."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        heard: list[str] = []
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        address = place if isinstance(place, str) else place.absolute().as_uri()
        local = ("file:", "data:", "blob:", *([address.partition("/env")[0]] if isinstance(place, str) else []))
        page.on("request", lambda request: None if request.url.startswith(local) else heard.append(request.url))
        page.goto(address)
        yield page, heard
        browser.close()
