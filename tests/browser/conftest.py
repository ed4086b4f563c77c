"""A real browser. It may talk to the shop and to the gateway, and every other request is an error."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import unavailable
from tests.running_shop import RunningShop

PICTURES = Path(__file__).resolve().parent.parent.parent / "test-results"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        unavailable("there is no Chromium here; install it, or name it in CHROMIUM")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright keeps an event loop in this thread
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_page(browser: Browser, shop: RunningShop) -> Iterator[Callable[..., Page]]:
    """Pages of the shop; afterwards none may have asked a foreign host or run into the security policy."""
    complaints: list[str] = []
    contexts = []

    def open_page(**options: object) -> Page:
        context = browser.new_context(base_url=shop.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: _note_foreign(request.url, shop, complaints))
        page.on(
            "console",
            lambda entry: (
                complaints.append(f"{entry.text} {entry.location.get('url', '')}")
                if _is_complaint(entry)
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _note_foreign(url: str, shop: RunningShop, complaints: list[str]) -> None:
    if not url.startswith((shop.url, shop.gateway_url, "data:")):
        complaints.append(f"asked {url}")


def _is_complaint(entry: object) -> bool:
    is_refused_form = (
        "status of 422" in entry.text
    )  # the answer to a wrong form, which Chromium notes as an error
    return "Content Security Policy" in entry.text or (entry.type == "error" and not is_refused_form)


def keep_picture(page: Page, name: str) -> None:
    """A picture for people to look at, below test-results/."""
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
