"""What the first page says of the figures: tiles with a number, a word for it, and a state in words. Pure decisions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from deadletters.models import LetterJob
from eventstore.admin_columns import Tone
from eventstore.relative_times import span
from messaging.topology import DEAD
from operations.board import Line, Links, OutboxRow, QueueRow, Tile
from operations.broker import Broker, Queue
from operations.figures import MOST, MOST_OUTBOX, DatabaseFigures, OrderFigures
from orders.models import Order
from sagas.state import SagaStatus

SLOW_ORDER = timedelta(minutes=5)
"""An order that is under way for longer is worth a look."""
LATE = timedelta(seconds=10)
STUCK = timedelta(minutes=1)
"""A message that is due is sent within milliseconds: it is late, and then nobody sends it at all."""
ORCHESTRATED = "sagas"
"""The queue that is consumed by orchestrators instead of workers."""


def counted(number: int, most: int) -> str:
    """`1,234`, or `10,000+` where nobody counted further."""
    return f"{most:,}+" if number >= most else f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """The word for so many."""
    return one if number == 1 else many or f"{one}s"


def orders(figures: OrderFigures | None, *, now: datetime, since: datetime, links: Links) -> Tile:
    """Those under way, and how those of the last day ended."""
    url = links.to("orders.order", status__exact=Order.Status.PENDING)
    if figures is None:
        return _unknown("Orders", "pending", "the database of orders does not answer", url)
    oldest = now - figures.oldest_pending_at if figures.oldest_pending_at else None
    if oldest is None:
        tone, state = Tone.GOOD, "none waits"
    elif oldest < SLOW_ORDER:
        tone, state = Tone.WAITING, f"the oldest for {span(oldest)}"
    else:
        tone, state = Tone.BAD, f"the oldest for {span(oldest)}"
    since = figures.counted_since or since
    named = f"Since {since:%H:%M}:" if figures.counted_since else "In the last day:"
    of_the_day = tuple(
        Line(
            text=f"{figures.of_the_day(status):,} {status}",
            url=links.to("orders.order", status__exact=status, placed_at__gte=since.isoformat()),
            tone=Tone.GOOD if status == Order.Status.CONFIRMED else Tone.UNDONE,
        )
        for status in (Order.Status.CONFIRMED, Order.Status.CANCELLED, Order.Status.REFUNDED)
        if status != Order.Status.REFUNDED or figures.of_the_day(status)
    )
    still = figures.of_the_day(Order.Status.PENDING)
    return Tile(
        title="Orders",
        number=counted(figures.pending, MOST),
        word="pending",
        tone=tone,
        state=state,
        url=url,
        lines=(Line(text=named), *of_the_day, Line(text=f"{still:,} pending")),
    )


def sagas(
    for_a_person: int, unfinished: Mapping[str, int], *, held_up: Mapping[str, int], links: Links
) -> Tile:
    """Those that wait for somebody to decide, those that go on by themselves, and what holds some of these up."""
    return Tile(
        title="Sagas",
        number=counted(for_a_person, MOST),
        word=plural(for_a_person, "needs a person", "need a person"),
        tone=Tone.BAD if for_a_person else Tone.GOOD,
        state="somebody is to decide" if for_a_person else "all go on by themselves",
        url=links.to("sagas.sagarecord", attention="person"),
        lines=(
            *(
                Line(
                    text=f"{counted(unfinished.get(status, 0), MOST)} {status}",
                    url=links.to("sagas.sagarecord", status__exact=status),
                )
                for status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
            ),
            *(
                Line(
                    text=f"{counted(held_up[kind], MOST)} {words}",
                    url=links.to("sagas.sagarecord", attention=kind),
                    tone=Tone.WAITING,
                )
                for kind, words in (("overdue", "overdue"), ("withheld", "held back by a switch"))
                if held_up.get(kind)
            ),
        ),
    )


def letters(open_letters: Mapping[str, int], replaying: str, broker: Broker, *, links: Links) -> Tile:
    """Open dead letters by service, those that were sent again, and those that are not collected yet."""
    number = sum(open_letters.values())
    lines = [
        Line(
            text=f"{count:,} in {service}",
            url=links.to("deadletters.deadletter", state="open", service=service),
            tone=Tone.BAD,
        )
        for service, count in sorted(open_letters.items())
    ]
    if replaying != "0":
        lines.append(
            Line(text=f"{replaying} replaying", url=links.to("deadletters.deadletter", state="replaying"))
        )
    uncollected = sum(queue.waiting or 0 for queue in broker.queues if queue.name.endswith(DEAD))
    if uncollected:
        word = plural(uncollected, "dead letter")
        lines.append(Line(text=f"{uncollected:,} {word} not collected yet", tone=Tone.WAITING))
    return Tile(
        title="Dead letters",
        number=f"{number:,}",
        word=f"open {plural(number, 'letter')}",
        tone=Tone.BAD if number else Tone.GOOD,
        state="somebody is to look" if number else "none waits",
        url=links.to("deadletters.deadletter", state="open"),
        lines=tuple(lines),
    )


def jobs(unfinished: Mapping[str, int], *, links: Links) -> Tile:
    """Bulk jobs that are not over."""
    running, paused, stopped = (
        unfinished.get(state, 0)
        for state in (LetterJob.State.RUNNING, LetterJob.State.PAUSED, LetterJob.State.STOPPED)
    )
    if stopped:
        tone, state = Tone.BAD, f"{stopped} stopped: letters came back"
    elif paused:
        tone, state = Tone.WAITING, f"{paused} {plural(paused, 'waits', 'wait')} to be resumed"
    else:
        tone, state = (Tone.WAITING, "under way") if running else (Tone.GOOD, "none under way")
    return Tile(
        title="Bulk jobs",
        number=f"{running + paused + stopped:,}",
        word="unfinished",
        tone=tone,
        state=state,
        url=links.to("deadletters.letterjob"),
        lines=tuple(
            Line(text=f"{number:,} {name}")
            for name, number in (("running", running), ("paused", paused), ("stopped", stopped))
            if number
        ),
    )


def gateways(known: Mapping[str, DatabaseFigures | None], *, now: datetime, links: Links) -> Tile:
    """Gateways that a service leaves alone, and the databases that do not say."""
    left_alone = [breaker for found in known.values() if found for breaker in found.breakers]
    lines = [
        Line(
            text=f"{breaker.service} has left the {breaker.gateway} alone for {span(now - breaker.since)}",
            url=links.to("messaging.circuitbreaker", service=breaker.service),
            tone=Tone.BAD,
        )
        for breaker in left_alone
    ]
    unknown = _away(known)
    lines += [
        Line(text=f"database {name} does not say which gateways it leaves alone", tone=Tone.BAD)
        for name in unknown
    ]
    if left_alone:
        tone, state = Tone.BAD, "their messages wait"
    else:
        tone, state = (Tone.BAD, "not all known") if unknown else (Tone.GOOD, "all are asked as usual")
    first = left_alone[0].service if left_alone else ""
    return Tile(
        title="Gateways",
        number=f"{len(left_alone):,}",
        word="left alone",
        tone=tone,
        state=state,
        url=links.to("messaging.circuitbreaker", **({"service": first} if first else {})),
        lines=tuple(lines),
    )


def streams(
    known: Mapping[str, DatabaseFigures | None],
    services: Mapping[str, str],
    *,
    now: datetime,
    most: int,
    links: Links,
) -> Tile:
    """Gaps that do not close by themselves, the oldest first, and the services that do not say."""
    gaps = sorted(
        (gap for found in known.values() if found for gap in found.gaps), key=lambda gap: gap.since
    )[:most]
    lines = []
    for gap in gaps:
        numbers = f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"
        lines.append(
            Line(
                text=f"{gap.service} waits for number {numbers} of {gap.stream}: {gap.held} "
                f"{plural(gap.held, 'message')} held back for {span(now - gap.since)}",
                url=links.to("messaging.heldbackmessage", service=gap.service, stream=gap.stream),
                tone=Tone.WAITING,
            )
        )
    away = _away(known)
    unknown = [service for service, database in services.items() if database in away]
    lines += [
        Line(text=f"the database of {service} does not say whether its streams have gaps", tone=Tone.BAD)
        for service in unknown
    ]
    if gaps:
        tone, state = Tone.WAITING, "events wait for their predecessor"
    else:
        tone, state = (Tone.BAD, "not all known") if unknown else (Tone.GOOD, "every event has its turn")
    first = {"service": gaps[0].service} if gaps else {}
    return Tile(
        title="Streams",
        number=counted(len(gaps), most),
        word=plural(len(gaps), "gap"),
        tone=tone,
        state=state,
        url=links.to("messaging.heldbackmessage", **first),
        lines=tuple(lines),
    )


def outboxes(
    known: Mapping[str, DatabaseFigures | None],
    services: Mapping[str, str],
    *,
    now: datetime,
    links: Links,
) -> list[OutboxRow]:
    """One row for each database."""
    rows = []
    for database, found in known.items():
        living = next(service for service, alias in services.items() if alias == database)
        if found is None:
            rows.append(_silent_outbox(database, links.to("messaging.outboxmessage", service=living)))
            continue
        worst = next((part.service for part in (*found.refused, *found.due)), living)
        tone, state = _standing_of_outbox(found, now)
        due = sum(part.rows for part in found.due)
        rows.append(
            OutboxRow(
                database=database,
                url=links.to("messaging.outboxmessage", service=worst),
                due=_of_a_table(due, found.rows),
                oldest=span(now - found.due[0].oldest_at) if found.due else "–",
                later=_of_a_table(found.later, found.rows),
                refused=counted(sum(part.rows for part in found.refused), MOST_OUTBOX),
                tone=tone,
                state=state,
            )
        )
    return rows


def _standing_of_outbox(found: DatabaseFigures, now: datetime) -> tuple[Tone, str]:
    age = now - found.due[0].oldest_at if found.due else timedelta()
    if found.refused:
        return Tone.BAD, "the broker refuses messages"
    if age >= STUCK:
        return Tone.BAD, "nobody sends: no relay, or no broker"
    if age >= LATE:
        return Tone.WAITING, "late"
    return (Tone.GOOD, "moving") if found.due else (Tone.GOOD, "nothing is due")


def _silent_outbox(database: str, url: str) -> OutboxRow:
    return OutboxRow(
        database=database,
        url=url,
        due="?",
        oldest="?",
        later="?",
        refused="?",
        tone=Tone.BAD,
        state="the database does not answer",
    )


def _of_a_table(number: int, estimate: int) -> str:
    if number < MOST_OUTBOX:
        return f"{number:,}"
    return f"about {estimate:,}" if estimate > MOST_OUTBOX else counted(number, MOST_OUTBOX)


def queues(broker: Broker, *, links: Links) -> list[QueueRow]:
    """One row for each service."""
    by_name = {queue.name: queue for queue in broker.queues}
    return [
        _queue(queue, by_name.get(f"{name}{DEAD}"), links)
        for name, queue in sorted(by_name.items())
        if not name.endswith(DEAD)
    ]


def _queue(queue: Queue, dead: Queue | None, links: Links) -> QueueRow:
    kind = "orchestrator" if queue.name == ORCHESTRATED else "worker"
    problems, tone = [], Tone.BAD
    for one, consumer in ((queue, kind), (dead, "collector")):
        if one is None or one.consumers is None:
            name = one.name if one else f"{queue.name}{DEAD}"
            problems.append(f"no queue {name}: run manage.py declare_topology")
        elif not one.consumers:
            problems.append(f"no {consumer}")
    if not problems and queue.consumers is not None:
        problems, tone = [f"{queue.consumers:,} {plural(queue.consumers, kind)}"], Tone.GOOD
    return QueueRow(
        name=queue.name,
        url=links.to("messaging.failedattempt", service=queue.name),
        waiting=_ready(queue),
        uncollected=_ready(dead),
        tone=tone,
        state=", ".join(problems),
    )


def _ready(queue: Queue | None) -> str:
    return "?" if queue is None or queue.waiting is None else f"{queue.waiting:,}"


def verdict(tiles: Iterable[Tile], rows: Sequence[OutboxRow | QueueRow], problem: str) -> tuple[str, Tone]:
    """All of it in one sentence."""
    wrong = [tile.title.lower() for tile in tiles if tile.tone is Tone.BAD]
    wrong += ["an outbox"] if any(isinstance(row, OutboxRow) and row.tone is Tone.BAD for row in rows) else []
    is_queue_wrong = any(isinstance(row, QueueRow) and row.tone is Tone.BAD for row in rows)
    wrong += ["the queues"] if is_queue_wrong or problem else []
    if not wrong:
        return "All is well: nothing needs you.", Tone.GOOD
    *others, last = wrong
    named = f"{', '.join(others)} and {last}" if others else last
    return f"Have a look at {named}.", Tone.BAD


def _unknown(title: str, word: str, state: str, url: str) -> Tile:
    return Tile(title=title, number="?", word=word, tone=Tone.BAD, state=state, url=url)


def _away(known: Mapping[str, DatabaseFigures | None]) -> list[str]:
    return [database for database, found in known.items() if found is None]
