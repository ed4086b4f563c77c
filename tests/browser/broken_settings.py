"""The project's settings in a release in which shipping is broken, and that gives up soon."""

from project.settings import *  # noqa: F403
from project.settings import HANDLER_MODULES

HANDLER_MODULES = (*HANDLER_MODULES, "tests.browser.broken_shipping")
RETRY_ATTEMPTS = 2
