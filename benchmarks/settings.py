"""The project's settings with one service more, which exists to be measured: `benchmarks/handlers.py`."""

from benchmarks.messages import SERVICE as _SERVICE
from project.settings import *  # noqa: F403
from project.settings import HANDLER_MODULES as _MODULES
from project.settings import SERVICE_NAMES as _NAMES
from project.settings import SERVICES as _SERVICES

SERVICE_NAMES = (*_NAMES, _SERVICE)
SERVICES = {**_SERVICES, _SERVICE: "default"}
HANDLER_MODULES = (*_MODULES, "benchmarks.handlers")
