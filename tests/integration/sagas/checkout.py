"""One order's saga, as a test moves it and asks after it."""

from uuid import UUID, uuid4

import msgspec

from contracts.message import Event
from contracts.orders import OrderPlaced
from messaging.envelope import Envelope
from messaging.models import OutboxMessage
from sagas.batch import Incoming
from sagas.checkout import CHECKOUT
from sagas.definition import Saga
from sagas.models import MessageRecord, SagaRecord, StepRecord
from sagas.registry import saga_id_of
from tests.builders import Replies, an_envelope, order_placed


def changed(version: int, **of_ship: object) -> Saga:
    """The checkout with another step `ship`."""
    steps = tuple(
        msgspec.structs.replace(step, **of_ship) if step.name == "ship" else step for step in CHECKOUT.steps
    )
    return Saga("checkout", version, CHECKOUT.starts, "order_id", steps)


class Checkout:
    """One order's saga, in the database."""

    def __init__(self) -> None:
        self.order_id = uuid4()
        self.placed: OrderPlaced = order_placed(self.order_id)
        self.id: UUID = saga_id_of(CHECKOUT, self.placed)
        self.replies = Replies(self.order_id)

    def start(self) -> Incoming:
        return Incoming(an_envelope(self.placed), self.placed)

    def envelope(self, step: str, reply: Event) -> Envelope:
        return an_envelope(reply, saga_id=self.id, step=step, step_try=1)

    def reply(self, step: str, reply: Event) -> Incoming:
        return Incoming(self.envelope(step, reply), reply)

    @property
    def status(self) -> str:
        return SagaRecord.objects.get(id=self.id).status

    def step(self, name: str) -> StepRecord:
        return StepRecord.objects.get(saga_id=self.id, name=name)

    def sent(self) -> list[str]:
        sent = MessageRecord.objects.filter(saga_id=self.id, direction="sent").order_by("id")
        return [wire_type.split(".")[1] for wire_type in sent.values_list("type", flat=True)]

    @property
    def deadline(self) -> OutboxMessage | None:
        return OutboxMessage.objects.using("default").filter(known_key=f"saga:{self.id}:deadline").first()
