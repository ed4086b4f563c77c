"""The project's settings with one service more, and with limits that a test has the time to reach."""

import os

from project.settings import *  # noqa: F403
from project.settings import (
    CELERY_BROKER_TRANSPORT_OPTIONS,
    HANDLER_MODULES,
    SERVICE_NAMES,
    SERVICES,
)

SERVICE_NAMES = (*SERVICE_NAMES, "trouble")
SERVICES = {**SERVICES, "trouble": "default"}
HANDLER_MODULES = (*HANDLER_MODULES, "trouble.handlers")
CELERY_TASK_TIME_LIMIT = float(os.environ.get("TROUBLE_TIME_LIMIT", "30"))
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = float(os.environ.get("TROUBLE_SOFT_SHUTDOWN", "2"))
CELERY_BROKER_HEARTBEAT = 4
CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "read_timeout": 3, "write_timeout": 3}
