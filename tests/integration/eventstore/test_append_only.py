"""The event store: versions without gaps or twins, and history that nobody changes."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, InternalError, connections, transaction

from contracts.inventory import ItemReserved, StockReceived
from eventstore import store
from eventstore.errors import ConcurrentAppend, UnknownEventType
from eventstore.models import StoredEvent
from inventory.aggregate import evolve
from tests.at_once import at_once
from tests.builders import NOON

DATABASE = settings.SERVICES["inventory"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def stream() -> str:
    return f"test-{uuid4()}"


def append(stream: str, *quantities: int, expected_version: int = 0) -> int:
    events = [StockReceived(sku="mug", quantity=quantity) for quantity in quantities]
    return store.append(
        stream=stream, events=events, expected_version=expected_version, occurred_at=NOON, database=DATABASE
    )


def quantities(stream: str, **limits: object) -> list[int]:
    return [recorded.event.quantity for recorded in store.read(stream, database=DATABASE, **limits)]


def test_events_are_read_back_in_order_as_what_they_were(stream):
    assert append(stream, 1, 2) == 2
    assert append(stream, 3, expected_version=2) == 3

    recorded = store.read(stream, database=DATABASE)

    assert [(one.version, one.event) for one in recorded] == [
        (version, StockReceived(sku="mug", quantity=version)) for version in (1, 2, 3)
    ]
    assert {one.occurred_at for one in recorded} == {NOON}
    assert [one.position for one in recorded] == sorted(one.position for one in recorded)


def test_a_part_of_a_stream_is_read_by_version(stream):
    append(stream, 1, 2, 3, 4)

    assert quantities(stream, after_version=1, up_to_version=3) == [2, 3]


def test_appending_nothing_changes_nothing(stream):
    assert append(stream, expected_version=7) == 7
    assert quantities(stream) == []


@pytest.mark.parametrize("expected_version", [0, 1])
def test_a_writer_with_an_old_version_is_refused(stream, expected_version):
    append(stream, 1, 2)

    with (
        pytest.raises(ConcurrentAppend, match=rf"{stream}.*version {expected_version}"),
        transaction.atomic(DATABASE),
    ):
        append(stream, 9, expected_version=expected_version)

    assert quantities(stream) == [1, 2]


def test_of_two_writers_with_one_version_exactly_one_wins(committed, stream):
    append(stream, 1)

    def write(quantity: int) -> int | None:
        try:
            with transaction.atomic(using=DATABASE):
                append(stream, quantity, expected_version=1)
        except ConcurrentAppend:
            return None
        return quantity

    outcomes = at_once(lambda: write(2), lambda: write(3))

    (winner,) = [outcome for outcome in outcomes if outcome is not None]
    assert quantities(stream) == [1, winner]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE eventstore_storedevent SET data = '{}' WHERE stream = %s",
        "DELETE FROM eventstore_storedevent WHERE stream = %s",
        "TRUNCATE eventstore_storedevent /* %s */",
    ],
    ids=lambda statement: statement.split()[0].lower(),
)
@pytest.mark.parametrize("service", ["orders", "inventory", "billing", "sagas"])
def test_history_cannot_be_rewritten(service, statement):
    database, stream = settings.SERVICES[service], f"test-{uuid4()}"
    store.append(
        stream=stream,
        events=[StockReceived(sku="mug", quantity=1)],
        expected_version=0,
        occurred_at=NOON,
        database=database,
    )

    refused = pytest.raises(InternalError, match="pgtrigger: Cannot")
    with refused, transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute(statement, [stream])

    assert len(store.read(stream, database=database)) == 1


def test_versions_begin_at_one(stream):
    with pytest.raises(IntegrityError, match="version_from_one"), transaction.atomic(using=DATABASE):
        append(stream, 1, expected_version=-1)


def test_an_event_of_another_release_is_named_and_not_skipped(stream):
    append(stream, 1)
    StoredEvent.objects.using(DATABASE).create(
        stream=stream, version=2, type="inventory.stock_lent.v1", data={}, metadata={}, occurred_at=NOON
    )

    with pytest.raises(UnknownEventType, match=r"Event 2 of stream .*inventory.stock_lent.v1"):
        store.read(stream, database=DATABASE)


def test_the_writing_transaction_is_kept_with_the_event(stream):
    append(stream, 1)
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(
            "SELECT transaction_id = pg_current_xact_id() FROM eventstore_storedevent WHERE stream = %s",
            [stream],
        )
        assert cursor.fetchone() == (True,)


def test_events_that_cannot_follow_one_another_are_refused_by_the_fold():
    with pytest.raises(TypeError, match="ItemReserved cannot follow"):
        store.fold(evolve, [ItemReserved(sku="mug", quantity=1, order_id=uuid4())])
