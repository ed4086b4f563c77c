"""The project's settings with services and sagas more, which exist to be measured."""

from benchmarks.messages import SERVICE as _SERVICE
from benchmarks.saga_messages import SERVICES as _SAGA_SERVICES
from project.settings import *  # noqa: F403
from project.settings import HANDLER_MODULES as _MODULES
from project.settings import SAGAS as _SAGAS
from project.settings import SERVICE_NAMES as _NAMES
from project.settings import SERVICES as _SERVICES

SERVICE_NAMES = (*_NAMES, _SERVICE, *_SAGA_SERVICES)
SERVICES = {**_SERVICES, **dict.fromkeys((_SERVICE, *_SAGA_SERVICES), "default")}
HANDLER_MODULES = (*_MODULES, "benchmarks.handlers", "benchmarks.saga_handlers")
SAGAS = (*_SAGAS, "benchmarks.saga_definitions.ONE_BY_ONE", "benchmarks.saga_definitions.IN_BATCHES")
