"""Whatever the database and the way to it do: no attempt is burnt, and every effect is there once."""

import pytest
from django.db import connections

from messaging.envelope import utc_now
from tests.faults.proxy import Proxy
from tests.faults.workshop import Workshop
from tests.running_shop import wait_until
from tests.system.test_broker_faults import AWAY, WELL, assert_each_had_one_effect

END_OPEN_TRANSACTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'"""


def test_a_session_killed_in_the_middle_of_a_transaction_has_one_effect(workshop: Workshop) -> None:
    trouble = workshop.send("sleep", times=1, seconds=1)
    wait_until(lambda: workshop.runs(trouble), what="the handler to begin")
    with connections["default"].cursor() as cursor:
        cursor.execute(END_OPEN_TRANSACTIONS)
        assert cursor.fetchall() == [(True,)]

    assert_each_had_one_effect(workshop, [trouble])
    assert workshop.runs(trouble) == 2


@pytest.mark.parametrize("side", ["relay_database", "worker_database"])
@pytest.mark.parametrize("fault", ["reset", "cut", "slow", "dark"])
def test_a_broken_connection_to_the_database_repeats_no_effect(
    workshop: Workshop, side: str, fault: str
) -> None:
    proxy: Proxy = getattr(workshop, side)
    troubles = workshop.send_all([WELL] * 50)
    if fault == "slow":
        proxy.slow_down(0.02)
    if fault == "dark":
        proxy.go_dark()
    if fault == "cut":
        proxy.cut(after=1001)
    troubles += workshop.send_all([WELL] * 20)
    if fault in ("reset", "dark"):
        workshop.let_pass(0.5)
        # What ends a half-open connection is the system's keepalive; a reset is what the process then sees.
        proxy.heal()
        proxy.reset()

    assert_each_had_one_effect(workshop, troubles)


def test_a_database_that_is_away_for_long_burns_no_attempt(workshop: Workshop) -> None:
    in_hand = workshop.send("sleep", times=1, seconds=1)
    wait_until(lambda: workshop.runs(in_hand), what="the handler to begin")
    troubles = workshop.send_all([WELL] * 20)
    workshop.relay_database.refuse()
    workshop.worker_database.refuse()
    begun = utc_now()
    workshop.let_pass(AWAY)
    assert workshop.effects(in_hand) == 0
    workshop.heal()

    assert_each_had_one_effect(workshop, [in_hand, *troubles])
    assert (utc_now() - begun).total_seconds() < AWAY + 30, "the processes wait too long after it is back"
