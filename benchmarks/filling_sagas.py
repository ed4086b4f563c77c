"""Finished sagas by the million, each a copy of one that was really carried out."""

from typing import Any

from benchmarks.filling import UUID7, write_in_chunks
from benchmarks.stage import Place

EMPTY = "TRUNCATE sagas_sagarecord, messaging_outboxmessage CASCADE"
APART = 250
"""Milliseconds from one saga to the next."""

_SAGA_ID = "md5('saga ' || number)::uuid"
"""Like the application's, which follow from the business key: without any order."""
_ORDER_ID = "md5('order ' || number)::uuid"
_MESSAGE_ID = UUID7.format(age=f"(%(all)s * {APART})", salt="note' || given.id || '")
_LATER = f"- (%(all)s - number) * interval '{APART} milliseconds'"

_OF_A_SAGA = {
    "sagas_sagarecord": (
        "id = '{saga}'",
        {
            "id": _SAGA_ID,
            "business_key": f"({_ORDER_ID})::text",
            "correlation_id": f"({_ORDER_ID})::text",
            "started_at": f"given.started_at {_LATER}",
            "finished_at": f"given.finished_at {_LATER}",
        },
    ),
    "sagas_steprecord": ("saga_id = '{saga}'", {"saga_id": _SAGA_ID}),
    "sagas_messagerecord": (
        "saga_id = '{saga}'",
        {"saga_id": _SAGA_ID, "message_id": _MESSAGE_ID, "at": f"given.at {_LATER}"},
    ),
    "messaging_idempotencykey": (
        "key LIKE '{saga}:%%' OR key IN (SELECT message_id::text FROM sagas_messagerecord "
        "WHERE saga_id = '{saga}' AND direction = 'received')",
        {
            "key": f"CASE WHEN given.key LIKE '{{saga}}:%%' THEN replace(given.key, '{{saga}}', ({_SAGA_ID})::text) "
            f"ELSE ({_MESSAGE_ID})::text END",
            "claimed_at": f"given.claimed_at {_LATER}",
            "finished_at": f"given.finished_at {_LATER}",
        },
    ),
}
"""Which rows of a table belong to a saga, and what is different in each copy; the tables in the order of their keys."""


def fill_finished_sagas(place: Place, count: int, *, chunk: int = 50_000) -> None:
    """Copies of the newest finished saga, with its steps, its messages and its idempotency keys."""
    connection = place.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM sagas_sagarecord WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1"
            )
            (saga,) = cursor.fetchone()
            inserts = {table: _copying(cursor, table, saga) for table in _OF_A_SAGA}
            for table, insert in inserts.items():
                write_in_chunks(place, cursor, table, insert, count=count, chunk=chunk)
    finally:
        connection.close()


def _copying(cursor: Any, table: str, saga: str) -> str:
    """What writes a copy of the saga's rows of this table for each number; a serial id is given by the database."""
    rows, changed = _OF_A_SAGA[table]
    cursor.execute(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema AND table_name = %s AND is_identity = 'NO' ORDER BY ordinal_position",
        [table],
    )
    columns = [column for (column,) in cursor.fetchall()]
    values = ", ".join(changed.get(column, f"given.{column}").replace("{saga}", saga) for column in columns)
    names = ", ".join(columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {values} "
        f"FROM generate_series(%(first)s, %(last)s) AS number, "
        f"(SELECT * FROM {table} WHERE {rows.replace('{saga}', saga)}) AS given"
    )
