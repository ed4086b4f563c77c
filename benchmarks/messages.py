"""What the measured service is told, and what it answers."""

from typing import ClassVar
from uuid import UUID

from contracts.message import Command, Event

SERVICE = "benchmarks"
REPLIES = "benchmark_replies"
"""The queue of the answers. Nobody consumes it."""
BATCH = 50
"""So many commands the batching handler takes into one transaction."""


class CountUp(Command, frozen=True, kw_only=True):
    """Add one to a counter. The note makes the body as long as that of a usual command."""

    wire_type: ClassVar[str] = "benchmarks.count_up.v1"
    counter: int
    note: str = ""


class CountUpInBatch(Command, frozen=True, kw_only=True):
    """The same, for the handler that takes many in one transaction."""

    wire_type: ClassVar[str] = "benchmarks.count_up_in_batch.v1"
    counter: int
    note: str = ""


class CountedUp(Event, frozen=True, kw_only=True):
    wire_type: ClassVar[str] = "benchmarks.counted_up.v1"
    counter: int
    value: int


class NoteStart(Command, frozen=True, kw_only=True):
    """Write down when the handler began."""

    wire_type: ClassVar[str] = "benchmarks.note_start.v1"
    marker: UUID
