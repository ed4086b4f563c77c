"""`manage.py orchestrator`, but the message whose id is in POISON kills it, as one that takes all the memory would."""

import os
import signal
from collections.abc import Sequence

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from sagas import orchestrator  # noqa: E402
from sagas.batch import Incoming  # noqa: E402

_handle_batch = orchestrator.handle_batch


def handle_batch(batch: Sequence[Incoming]) -> None:
    if os.environ["POISON"] in {str(incoming.envelope.message_id) for incoming in batch}:
        os.kill(os.getpid(), signal.SIGKILL)
    _handle_batch(batch)


orchestrator.handle_batch = handle_batch
call_command("orchestrator")
