"""The browser of the browser tests."""

import os
from collections.abc import Callable, Mapping

from launcher.programs import find, run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-dejavu-core")


def provide(environment: Mapping[str, str], *, explain: Callable[[str], None]) -> str | None:
    """The path of a Chromium, installed now where root runs this; else None, and the line to type is said."""
    found = environment.get("CHROMIUM") or _find()
    if found is not None:
        return found
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    if os.geteuid() == 0 and find("apt-get"):
        explain("installing Chromium for the browser tests")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], install):
            finished = run(command, environment=quiet)
        found = _find()
        if found is not None:
            return found
        explain(f"Chromium could not be installed: {finished.tail}")
    explain(f"the browser tests need Chromium. As root, type: {' '.join(install)}")
    return None


def _find() -> str | None:
    return next(filter(None, map(find, NAMES)), None)
