"""What the sagas listen to. They have a consumer of their own, the orchestrator, instead of a worker."""

from contracts.operations import LapsePauseSwitch
from contracts.sagas import CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter
from messaging.handling import sends, subscribe
from sagas.registry import DEFINITIONS

SERVICE = "sagas"
COMMANDS = (CheckDeadlines, NoteDeadLetter, NoteDiscardedLetter)
MESSAGE_TYPES = {command.wire_type for command in COMMANDS}.union(
    *(saga.message_types() for saga in DEFINITIONS.values())
)

subscribe(SERVICE, MESSAGE_TYPES)
_SENT = {command for saga in DEFINITIONS.values() for command in saga.command_types()}
sends(SERVICE, {CheckDeadlines.wire_type, LapsePauseSwitch.wire_type, *_SENT})
