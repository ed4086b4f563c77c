"""The measured saga, with commands that are handled one by one and with commands that are handled in batches.

No release carries on a saga of another here, so they are listed as released where they are made.
"""

from benchmarks.saga_messages import (
    Authorize,
    Authorized,
    AuthorizeInBatch,
    OrderTaken,
    OrderTakenInBatch,
    Release,
    Released,
    ReleaseInBatch,
    Reserve,
    Reserved,
    ReserveInBatch,
    Ship,
    ShipInBatch,
    Shipped,
    ShippingRefused,
    Void,
    Voided,
    VoidInBatch,
)
from sagas.definition import Saga, Step
from sagas.shapes import SHAPES

# fmt: off
ONE_BY_ONE = Saga("benchmark", version=1, starts=OrderTaken, unique_by="order_id", steps=(
    Step("reserve",   Reserve,   done=Reserved,   undo=Release, undone=Released),
    Step("authorize", Authorize, done=Authorized, undo=Void,    undone=Voided),
    Step("ship",      Ship,      done=Shipped,    refused=ShippingRefused),
))
IN_BATCHES = Saga("benchmark_in_batches", version=1, starts=OrderTakenInBatch, unique_by="order_id", steps=(
    Step("reserve",   ReserveInBatch,   done=Reserved,   undo=ReleaseInBatch, undone=Released),
    Step("authorize", AuthorizeInBatch, done=Authorized, undo=VoidInBatch,    undone=Voided),
    Step("ship",      ShipInBatch,      done=Shipped,    refused=ShippingRefused),
))
# fmt: on

SHAPES.update({(saga.name, saga.version): saga.outline for saga in (ONE_BY_ONE, IN_BATCHES)})
