"""Whatever bytes come to a queue: none is lost, none ends its consumer, and what is whole is handled."""

from uuid import uuid4

import pytest
from django.conf import settings
from kombu import Connection

from deadletters.models import DeadLetter
from tests.builders import an_envelope, order_placed, reserve_stock
from tests.faults.malformed import is_good_enough_for_sagas, malformed, publish, with_unreadable_headers
from tests.running_shop import RunningShop, wait_until


@pytest.mark.parametrize(
    ("service", "process"), [("inventory", "inventory-worker"), ("sagas", "orchestrator")]
)
def test_malformed_messages_become_dead_letters_and_their_consumer_goes_on(
    shop: RunningShop, service: str, process: str
) -> None:
    restarts = shop.processes.restarts(process)
    good = reserve_stock(uuid4()) if service == "inventory" else order_placed()
    cases = malformed(an_envelope(good).to_headers(), good.to_payload())
    if service == "sagas":
        cases = {name: case for name, case in cases.items() if not is_good_enough_for_sagas(name)}
    run = uuid4().hex
    # Without confirms the broker may lose what it has not stored when the connection ends.
    with Connection(settings.BROKER_URL, transport_options={"confirm_publish": True}) as connection:
        for name, (properties, headers, body) in cases.items():
            publish(connection, service, name, (properties, {**headers, "x-run": run}, body))
        unreadable = with_unreadable_headers(run.encode())
        connection.default_channel.basic_publish_confirm(unreadable, exchange="", routing_key=service)

    def dead() -> dict[str, DeadLetter]:
        letters = DeadLetter.objects.filter(**{"headers__x-run": run, "service": service})
        return {letter.headers["x-case"]: letter for letter in letters}

    try:
        wait_until(lambda: set(dead()) == set(cases), what="every malformed message to be a dead letter")
    except AssertionError as error:
        raise AssertionError(f"lost or still waiting: {sorted(set(cases) - set(dead()))}") from error
    for name, letter in dead().items():
        body = cases[name][2]
        assert bytes(letter.body) == (body.encode() if isinstance(body, str) else body), name
    wait_until(
        lambda: DeadLetter.objects.filter(service=service, body=run.encode()).exists(),
        what="the message with unreadable headers to be a dead letter",
    )
    order = shop.place_order()
    shop.settle(order)

    assert order.status == "confirmed"
    assert shop.processes.restarts(process) == restarts, "a message ended its consumer"
