"""The admin's first page: what waits, what is left alone, who is needed, and that it opens whatever is away."""

import socket
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters import tallies
from deadletters.models import DeadLetter, LetterJob
from messaging import topology
from messaging.models import OutboxMessage
from operations import broker, desk_site, figures
from orders.models import Order
from sagas.models import SagaRecord, StepRecord
from tests.integration.admin.pages import list_of
from tests.integration.admin.records import an_open_breaker, record_letter, record_order

pytestmark = pytest.mark.django_db(databases="__all__")

MOST_STATEMENTS_ON_DEFAULT = 9


def first_page(client: Client):
    return client.get(reverse("admin:index"))


def tile(page, title: str):
    (found,) = (tile for tile in page.context["dashboard"].tiles if tile.title == title)
    return found


def texts(tile) -> list[str]:
    return [line.text for line in tile.lines]


@pytest.fixture
def queues(monkeypatch) -> dict[str, tuple[int, int] | None]:
    """What the broker says of its queues: each has somebody who consumes it, and nothing waits."""
    states = {name: (0, 1) for service in settings.SERVICES for name in (service, f"{service}.dead")}
    monkeypatch.setattr(broker.topology, "states", lambda connection: states)
    return states


@pytest.fixture
def now(monkeypatch) -> datetime:
    """The time at which the page is looked at, so that no hour passes meanwhile."""
    at = datetime.now(UTC)
    monkeypatch.setattr(desk_site, "utc_now", lambda: at)
    return at


@pytest.fixture
def away(monkeypatch):
    """Lets a database not answer."""
    read = figures.read

    def away_(*databases: str) -> None:
        def asked(database: str, **more: object) -> figures.DatabaseFigures:
            if database in databases:
                raise OperationalError("could not connect")
            return read(database, **more)

        monkeypatch.setattr(figures, "read", asked)

    return away_


@pytest.fixture
def support(db: None) -> Client:
    """Somebody of the group that the desk is made for."""
    user = User.objects.create_user("support", is_staff=True)
    user.groups.add(Group.objects.get(name="Support"))
    client = Client()
    client.force_login(user)
    return client


def test_orders_are_told_by_state_with_the_age_of_the_oldest(superuser, broker_url, now):
    for status, reason in (
        ("pending", ""),
        ("pending", ""),
        ("cancelled", "card_declined"),
        ("confirmed", ""),
    ):
        finished = None if status == "pending" else now
        Order.objects.filter(id=record_order(at=now)).update(
            status=status, reason=reason, finished_at=finished
        )
    Order.objects.filter(id=record_order(at=now - timedelta(days=3))).update(
        status="pending", finished_at=None
    )

    orders = tile(first_page(superuser), "Orders")

    assert (orders.number, orders.word, orders.state) == ("3", "pending", "the oldest for 3 days")
    assert texts(orders) == ["In the last day:", "1 confirmed", "1 cancelled", "2 pending"]
    assert superuser.get(orders.url).context["cl"].result_count == 3
    confirmed = next(line for line in orders.lines if line.text == "1 confirmed")
    assert superuser.get(confirmed.url).context["cl"].result_count == 1


def test_the_charts_show_the_last_day_hour_by_hour_and_their_numbers_as_a_table(superuser, broker_url, now):
    for seconds in (1, 2, 30):
        order_id = record_order(at=now)
        Order.objects.filter(id=order_id).update(finished_at=now + timedelta(seconds=seconds))

    orders, letters, times = first_page(superuser).context["dashboard"].charts

    assert len(orders.rows) == 24
    assert orders.rows[-1] == (f"{now:%H}:00", ("3", "0", "0", "0"))
    assert letters.rows[-1][1] == ("3",)
    assert times.rows[-1][1] == ("2", "30")


def test_charts_of_which_there_is_nothing_say_so(superuser, broker_url):
    page = first_page(superuser)

    for said in (
        "No order in the last day.",
        "No dead letter in the last day.",
        "No order of the last day is finished.",
    ):
        assertContains(page, said)
    assertNotContains(page, 'class="chart"')


def test_letters_are_told_by_service_and_agree_with_the_banner_and_the_tallies(superuser, queues):
    queues["billing.dead"] = (3, 1)
    record_letter(service="shipping")
    record_letter(service="shipping")
    record_letter(service="orders")
    record_letter(service="orders", state="replaying")

    page = first_page(superuser)

    assert tallies.open_by_service() == {"orders": 1, "shipping": 2}
    letters = tile(page, "Dead letters")
    assert (letters.number, letters.word) == ("3", "open letters")
    assert texts(letters) == [
        "1 in orders",
        "2 in shipping",
        "1 replaying",
        "3 dead letters not collected yet",
    ]
    assertContains(page, "3 dead letters are open</a>: ")
    for line in letters.lines[:3]:
        assert superuser.get(line.url).context["cl"].result_count == int(line.text.split()[0])


def test_bulk_jobs_that_are_not_over_are_told_by_state(superuser, broker_url, now):
    for state in ("running", "paused", "stopped", "finished"):
        LetterJob.objects.create(
            id=uuid4(),
            kind="replay",
            state=state,
            filter={},
            description="letters",
            requested_by="ada",
            requested_at=now,
            collected_until=now,
            begins_at=now,
            ramp=[1],
            rate=1,
            stopped_because="a letter came back" if state == "stopped" else "",
            finished_at=now if state == "finished" else None,
        )

    jobs = tile(first_page(superuser), "Bulk jobs")

    assert (jobs.number, jobs.state) == ("3", "1 stopped: letters came back")
    assert texts(jobs) == ["1 running", "1 paused", "1 stopped"]


def test_an_outbox_tells_its_age_its_rows_and_what_the_broker_refuses(superuser, queues, now):
    def write(service: str, due_in: timedelta, failures: int = 0) -> None:
        OutboxMessage.objects.using(settings.SERVICES[service]).create(
            message_id=uuid4(),
            service=service,
            type="a.message.v1",
            routing_key=service,
            headers={},
            body={},
            available_at=now + due_in,
            created_at=now,
            failures=failures,
        )

    write("billing", -timedelta(minutes=3))
    write("billing", timedelta(hours=1))
    write("shipping", timedelta(hours=1), failures=2)

    rows = {row.database: row for row in first_page(superuser).context["dashboard"].outboxes}

    billing, shipping = rows[settings.SERVICES["billing"]], rows[settings.SERVICES["shipping"]]
    assert (billing.due, billing.oldest, billing.later, billing.refused) == ("1", "3 min", "1", "0")
    assert billing.state == "nobody sends: no relay, or no broker"
    assert (shipping.refused, shipping.state) == ("1", "the broker refuses messages")
    assert rows[settings.SERVICES["inventory"]].state == "nothing is due"
    assert superuser.get(billing.url).context["cl"].result_count == 2


def test_a_queue_without_a_worker_is_named_in_words(superuser, queues):
    queues |= {"billing": (7, 0), "sagas": (0, 2), "orders.dead": (5, 0), "shipping": None}

    page = first_page(superuser)

    rows = {row.name: row for row in page.context["dashboard"].queues}
    assert (rows["billing"].waiting, rows["billing"].state) == ("7", "no worker")
    assert rows["sagas"].state == "2 orchestrators"
    assert rows["inventory"].state == "1 worker"
    assert (rows["orders"].uncollected, rows["orders"].state) == ("5", "no collector")
    assert rows["shipping"].state == "no queue shipping: run manage.py declare_topology"
    assertContains(page, '<span class="badge badge-bad">no worker</span>', html=True)
    assertContains(page, "Have a look at the queues.")


def test_the_first_page_lists_gaps_in_streams_with_their_age(superuser, order_id, broker_url):
    streams = tile(first_page(superuser), "Streams")

    stream = f"order-{order_id}"
    link = f"{list_of('messaging.heldbackmessage')}?service=billing&stream={stream}"
    (line,) = (line for line in streams.lines if line.url == link)
    assert line.text.startswith(f"billing waits for number 4 of {stream}: 1 message held back for ")
    assert superuser.get(link).status_code in (200, 302)


def test_the_first_page_names_the_gateways_that_are_left_alone(superuser, broker_url):
    assert tile(first_page(superuser), "Gateways").state == "all are asked as usual"
    an_open_breaker(settings.SERVICES["billing"])

    gateways = tile(first_page(superuser), "Gateways")

    assert texts(gateways) == ["billing has left the payment gateway alone for 1 min"]
    assert gateways.url == f"{list_of('messaging.circuitbreaker')}?service=billing"


def test_the_first_page_counts_sagas_that_need_a_person_also_where_the_letter_was_discarded(
    superuser, order_id, broker_url
):
    sagas = tile(first_page(superuser), "Sagas")
    assert (sagas.number, sagas.word, texts(sagas)) == ("0", "need a person", ["1 running", "0 compensating"])
    letter_id = uuid4()
    StepRecord.objects.filter(saga__correlation_id=order_id, name="authorize").update(
        status="held", deadline_at=None, letter_id=letter_id, discarded_letter_id=letter_id
    )
    SagaRecord.objects.filter(correlation_id=order_id).update(status="compensating", needs_a_person=True)

    page = first_page(superuser)

    sagas = tile(page, "Sagas")
    assert (sagas.number, sagas.word) == ("1", "needs a person")
    assert texts(sagas) == ["0 running", "1 compensating"]
    assert sagas.url == f"{list_of('sagas.sagarecord')}?attention=person"
    assertContains(page, "Have a look at")


def test_the_first_page_leads_to_the_sagas_that_it_counts(superuser, order_id, broker_url):
    SagaRecord.objects.filter(correlation_id=order_id).update(
        needs_a_person=True, is_overdue=True, is_withheld=True
    )

    sagas = tile(first_page(superuser), "Sagas")

    assert texts(sagas)[2:] == ["1 overdue", "1 held back by a switch"]
    for address in (sagas.url, *(line.url for line in sagas.lines)):
        listed = superuser.get(address)
        assert listed.status_code == 200, address
        assert listed.context["cl"].result_count == int("compensating" not in address), address


def test_the_first_page_says_that_all_is_well(superuser, queues):
    page = first_page(superuser)

    assertContains(page, "All is well: nothing needs you.")
    assertContains(page, "UTC</time>")
    assertNotContains(page, "badge-bad")


def test_the_first_page_opens_within_two_seconds_while_the_broker_is_away_or_silent(superuser, settings):
    settings.BROKER_URL = "amqp://guest:guest@127.0.0.1:1/"
    assertContains(first_page(superuser), "the broker does not answer")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.BROKER_URL = f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/"

        begun = time.monotonic()
        page = first_page(superuser)

    assertContains(page, "the broker ")
    assertContains(page, "Have a look at the queues.")
    assert time.monotonic() - begun < 2


def test_the_first_page_opens_while_a_service_s_database_is_away(superuser, queues, away):
    away("billing")

    page = first_page(superuser)

    assertContains(page, "database billing does not say which gateways it leaves alone")
    assertContains(page, "the database of billing does not say whether its streams have gaps")
    (billing,) = (row for row in page.context["dashboard"].outboxes if row.database == "billing")
    assert billing.state == "the database does not answer"


def test_the_first_page_opens_while_the_database_of_orders_is_away(superuser, queues, away):
    away(settings.SERVICES["orders"])

    page = first_page(superuser)

    assert tile(page, "Orders").state == "the database of orders does not answer"
    assertContains(page, "The database of orders does not answer.")


def test_the_whole_page_takes_under_ten_statements_and_one_for_each_other_database(
    support, superuser, queues, now
):
    for _ in range(3):
        record_order(at=now)
    for client in (superuser, support):
        first_page(client)
        with ExitStack() as stack:
            captured = {
                alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
            }
            assert first_page(client).status_code == 200

        for alias, queries in captured.items():
            assert len(queries) <= (MOST_STATEMENTS_ON_DEFAULT if alias == "default" else 1), list(queries)


def test_somebody_who_may_view_nothing_is_told_so_and_led_nowhere(client, queues, db):
    client.force_login(User.objects.create_user("newcomer", is_staff=True))
    record_letter()

    page = first_page(client)

    assertContains(page, "You may not view any records yet")
    assert {found.url for found in page.context["dashboard"].tiles} == {""}
    assertNotContains(page, "dead letter is open")


@pytest.mark.parametrize("label", ["orders.order", "deadletters.deadletter", "messaging.outboxmessage"])
def test_every_page_says_how_many_letters_are_open_in_one_statement_more(
    superuser, order_id, statements, label, now
):
    DeadLetter.objects.update(state="resolved", closed_at=now)
    assertNotContains(superuser.get(list_of(label)), 'class="news"')
    record_letter(service="shipping")

    with statements() as count:
        page = superuser.get(list_of(label))

    assertContains(
        page, f'<a href="{list_of("deadletters.deadletter")}?state=open">1 dead letter is open</a>'
    )
    assert count() <= 9


def test_the_login_page_says_nothing_of_letters(client, db):
    record_letter()

    page = client.get(reverse("admin:login"))

    assertNotContains(page, "dead letter")
    assertContains(page, "operations/admin.css")


def test_lists_are_grouped_and_the_current_one_is_marked(superuser, order_id):
    page = superuser.get(list_of("messaging.idempotencykey"))

    assert [wing.name for wing in page.context["wings"]][:5] == [
        "Orders",
        "Sagas",
        "Dead letters",
        "Messages",
        "Services",
    ]
    assertContains(
        page, f'<a href="{list_of("messaging.idempotencykey")}" aria-current="page">Keys</a>', html=True
    )
    assertContains(page, 'aria-current="true">Messages</a>')


def test_depths_are_asked_of_every_queue(broker_url):
    found = broker.Asking().answer(within=10)

    assert found.problem == ""
    assert {queue.name for queue in found.queues} == {
        name for service in topology.services() for name in (service, f"{service}.dead")
    }
