"""What the measured service does: one row changed, one event appended, one reply sent.

Only a process that has this module among its handlers knows the message types.
"""

import time

from django.conf import settings
from django.db import connections

from benchmarks.messages import BATCH, REPLIES, SERVICE, CountedUp, CountUp, CountUpInBatch, NoteStart
from contracts.catalogue import MESSAGE_TYPES
from messaging import outbox
from messaging.handling import handles, subscribe

_COUNT_UP = "UPDATE benchmarks_counter SET value = value + 1 WHERE id = %s RETURNING value"
_NOTE = "INSERT INTO benchmarks_start (marker, started_at) VALUES (%s, %s)"

MESSAGE_TYPES.update({kind.wire_type: kind for kind in (CountUp, CountUpInBatch, CountedUp, NoteStart)})
subscribe(REPLIES, {CountedUp.wire_type})


@handles(CountUp)
def count_up(command: CountUp) -> CountedUp:
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(_COUNT_UP, [command.counter])
        (value,) = cursor.fetchone()
    event = CountedUp(counter=command.counter, value=value)
    outbox.publish(event, stream=f"counter-{command.counter}", version=value)
    return event


@handles(CountUpInBatch, batch=BATCH)
def count_up_in_batch(command: CountUpInBatch) -> CountedUp:
    return count_up(CountUp(counter=command.counter))


@handles(NoteStart)
def note_start(command: NoteStart) -> None:
    started = time.time()
    with connections[settings.SERVICES[SERVICE]].cursor() as cursor:
        cursor.execute(_NOTE, [command.marker, started])
