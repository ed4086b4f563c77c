"""What the orchestrator would make of a dead letter; see `deadletters.rehearsal`."""

from uuid import UUID

import msgspec

from contracts.message import Message
from deadletters.rehearsals.dry_runs import rehearses
from messaging.envelope import Envelope
from sagas.batch import Incoming, handle_batch, sagas_of
from sagas.handlers import MESSAGE_TYPES, SERVICE
from sagas.models import SagaRecord, StepRecord


class _Seen(msgspec.Struct, frozen=True):
    """A saga at one moment: its status, and each step's with how often its command was sent."""

    name: str
    status: str
    steps: dict[str, tuple[str, int, int]]


def rehearse(envelope: Envelope, message: Message) -> list[str]:
    """Move the message's saga in the open transaction; returns what has changed, as sentences."""
    incoming = Incoming(envelope, message)
    saga_id = next(iter(sagas_of(incoming)), None)
    before = _look(saga_id)
    handle_batch([incoming])
    return _changes(before, _look(saga_id))


def _look(saga_id: UUID | None) -> _Seen | None:
    """Without a lock: the orchestrator locks keys first and sagas then, and nobody may do it the other way round."""
    saga = (
        SagaRecord.objects.filter(id=saga_id).values_list("name", "status").first()
        if saga_id is not None
        else None
    )
    if saga is None:
        return None
    steps = StepRecord.objects.filter(saga_id=saga_id).order_by("position")
    columns = steps.values_list("name", "status", "step_try", "sendings")
    return _Seen(*saga, {name: (status, step_try, sendings) for name, status, step_try, sendings in columns})


def _changes(before: _Seen | None, after: _Seen | None) -> list[str]:
    if after is None:
        return ["it belongs to no saga"]
    said = []
    if before is None:
        said.append(f"a saga {after.name} would begin")
    elif before.status != after.status:
        said.append(f"the saga would go from {before.status} to {after.status}")
    for name, (status, *sent) in after.steps.items():
        was, *was_sent = before.steps.get(name, ("pending", 1, 0)) if before else ("pending", 1, 0)
        if was != status:
            said.append(f"step {name} would go from {was} to {status}")
        elif was_sent != sent:
            said.append(f"step {name} would be sent again")
    return said or ["the saga would stay as it is, for it does not wait for this"]


rehearses(SERVICE, handled=MESSAGE_TYPES, rehearse=rehearse)
