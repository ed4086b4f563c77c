"""Which messages a free child is given together."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import Terminated, TimeLimitExceeded

from messaging.batching import Settled
from messaging.delivery import Delivery
from messaging.dispatching import Bundle, Dispatcher, MessageRequest, delivery_of
from messaging.metrics import Outcome


class Pool:
    """Children that take what they are given and answer when the test says so."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def apply_async(self, target: Any, **given: Any) -> None:
        self.given.append(given)


class Worker:
    """Celery's consumer as far as the dispatcher knows it."""

    def __init__(self, children: int) -> None:
        self.pool = Pool()
        self.controller = SimpleNamespace(semaphore=SimpleNamespace(value=children))
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []
        self.hub = SimpleNamespace(
            call_soon=self.soon.append, call_later=lambda _, call: self.later.append(call)
        )
        self.bundles: list[Bundle] = []
        self.dispatcher = Dispatcher(self)

    def on_task_request(self, bundle: Bundle) -> None:
        self.controller.semaphore.value -= 1
        self.bundles.append(bundle)
        bundle.execute_using_pool(self.pool)

    def turn(self) -> list[list[str]]:
        """One turn of the event loop; returns what every child has been given so far."""
        soon, self.soon[:] = list(self.soon), []
        for call in soon:
            call()
        return self.in_hand()

    def in_hand(self) -> list[list[str]]:
        return [[delivery.payload for delivery in given["args"][1]] for given in self.pool.given]

    def wait(self) -> list[list[str]]:
        """Let the timers of the event loop come to their time."""
        later, self.later[:] = list(self.later), []
        for call in later:
            call()
        return self.in_hand()

    def free_a_child(self) -> None:
        self.controller.semaphore.value += 1


class Message(MessageRequest):
    def __init__(
        self, name: str, *, batch: int = 1, is_redelivered: bool = False, is_quick: bool = False
    ) -> None:
        self.id = name
        self.delivery = Delivery(
            headers={}, payload=name, exchange="", routing_key="", is_redelivered=is_redelivered
        )
        self.settled: list[Settled | str] = []
        self._task = SimpleNamespace(
            batch=batch, is_quick=is_quick or batch > 1, service="inventory", time_limit=None
        )
        self.name = "inventory.reserve_stock.v1"
        self._on_reject = lambda _log, _errors, requeue: self.settled.append(f"rejected, {requeue=}")
        self._on_ack = lambda *_: self.settled.append("acknowledged")
        self._eventer, self._connection_errors = None, ()

    def settle(self, settled: Settled) -> None:
        self.settled.append(settled)

    def on_failure(self, exc_info: Any, **_: Any) -> None:
        self.settled.append("given back")


@pytest.fixture
def worker() -> Worker:
    return Worker(children=1)


def take(worker: Worker, *messages: Message) -> None:
    for message in messages:
        worker.dispatcher.take(message)


def test_what_arrives_together_goes_to_one_child(worker):
    take(worker, *(Message(name, batch=50) for name in "abc"))

    assert worker.turn() == [["a", "b", "c"]]


def test_no_bundle_is_larger_than_its_strictest_member_allows(worker):
    take(worker, Message("a", batch=50), Message("b", batch=2), Message("c", batch=50))

    assert worker.turn() == [["a", "b"]]


def test_a_bundle_that_is_too_large_for_a_message_passes_it_over(worker):
    take(
        worker,
        *(Message(name, batch=50) for name in "abc"),
        Message("of two", batch=2),
        Message("d", batch=50),
    )

    assert worker.turn() == [["a", "b", "c", "d"]]


def test_a_handler_of_its_own_transaction_goes_alone_and_holds_up_nobody(worker):
    worker.controller.semaphore.value = 2
    take(worker, Message("a", batch=50), Message("alone"), Message("b", batch=50))

    assert worker.turn() == [["a", "b"], ["alone"]]


def test_quick_handlers_of_their_own_transactions_are_shared_out_evenly_among_the_children():
    worker = Worker(children=2)
    take(worker, *(Message(name, is_quick=True) for name in "abcde"))

    assert worker.turn() == [["a", "b", "c"], ["d", "e"]]


def test_a_bundle_of_quick_handlers_has_a_limit_and_takes_neither_gateway_calls_nor_batches_along(worker):
    quick = [Message(f"quick {number}", is_quick=True) for number in range(30)]
    take(worker, quick[0], Message("gateway"), Message("batched", batch=50), *quick[1:])

    assert worker.turn() == [[f"quick {number}" for number in range(16)]]

    worker.free_a_child()
    worker.dispatcher.wake()
    assert worker.turn()[1:] == [["gateway"]]


def test_what_was_delivered_before_goes_alone(worker):
    worker.controller.semaphore.value = 2
    take(worker, Message("suspect", batch=50, is_redelivered=True), Message("a", batch=50))

    assert worker.turn() == [["suspect"], ["a"]]


def test_what_arrives_while_all_are_busy_goes_together_to_the_next_free_child(worker):
    take(worker, Message("first", batch=50))
    worker.turn()
    take(worker, *(Message(name, batch=50) for name in "abc"))

    assert worker.turn() == [["first"]]

    worker.free_a_child()
    worker.bundles[0]._on_settled([Settled(Outcome.HANDLED, 0.0)])
    assert worker.turn() == [["first"], ["a", "b", "c"]]


def test_each_is_settled_by_its_own_outcome(worker):
    good, bad = Message("good", batch=50), Message("bad", batch=50)
    take(worker, good, bad)
    worker.turn()
    outcomes = [Settled(Outcome.HANDLED, 0.1), Settled(Outcome.REJECTED, 0.2, "no")]

    worker.bundles[0]._on_settled(outcomes)

    assert (good.settled, bad.settled) == ([outcomes[0]], [outcomes[1]])


def test_those_whose_child_was_lost_are_tried_again_first_and_each_alone(worker):
    messages = [Message(name, batch=50) for name in "abc"]
    take(worker, *messages)
    worker.turn()
    take(worker, Message("later", batch=50))
    worker.turn()

    for _ in range(4):
        worker.free_a_child()
    worker.bundles[0]._on_lost(SimpleNamespace(exception=RuntimeError("killed")))

    assert worker.turn()[1:] == [["a"], ["b"], ["c"], ["later"]]
    assert [message.settled for message in messages] == [[], [], []], "nothing is given back to the queue"


def test_one_that_loses_its_child_alone_is_given_back_to_the_queue(worker):
    message = Message("poison", batch=50)
    take(worker, message)
    worker.turn()

    worker.bundles[0]._on_lost(SimpleNamespace(exception=RuntimeError("killed")))

    assert message.settled == ["given back"]


def test_a_child_that_is_replaced_in_silence_is_given_what_waits(worker):
    take(worker, Message("over its time", batch=50))
    worker.turn()
    take(worker, Message("next", batch=50))
    worker.turn()

    worker.bundles[0]._on_lost(SimpleNamespace(exception=TimeLimitExceeded(1)))
    worker.turn()
    worker.free_a_child()

    assert worker.wait() == [["over its time"], ["next"]]
    assert worker.wait() == [["over its time"], ["next"]], "nobody looks when nothing waits"
    assert not worker.later


def test_many_turns_without_a_free_child_set_one_timer(worker):
    worker.controller.semaphore.value = 0
    for name in "abc":
        take(worker, Message(name))
        worker.turn()

    assert len(worker.later) == 1


def test_a_new_connection_watches_for_free_children_of_its_own(worker):
    worker.controller.semaphore.value = 0
    take(worker, Message("of the lost connection"))
    worker.turn()
    worker.dispatcher.forget()
    worker.later.clear()  # as Celery may do with timers that were set while it connected

    take(worker, Message("of the next one"))
    worker.turn()
    worker.free_a_child()

    assert worker.wait() == [["of the next one"]]


@pytest.mark.parametrize("neighbours", ["", "ab"])
def test_a_message_whose_child_an_operator_has_ended_is_given_back_and_not_acknowledged(worker, neighbours):
    message = Message("revoked", batch=50)
    take(worker, message, *(Message(name, batch=50) for name in neighbours))
    worker.turn()

    message.terminate(SimpleNamespace(terminate_job=lambda *_: None), signal="TERM")
    message._announce_revoked("terminated", True, 15, False)  # as Celery does once the child was accepted
    worker.free_a_child()
    worker.bundles[0]._on_lost(SimpleNamespace(exception=Terminated(15)))

    assert message.settled == ["rejected, requeue=True"]
    worker.turn()
    assert [message.id for bundle in worker.bundles[1:] for message in bundle._requests] == list(neighbours)[
        :1
    ]


def test_a_child_that_ends_by_a_signal_nobody_asked_for_gives_its_message_back(worker):
    message = Message("unlucky")
    take(worker, message)
    worker.turn()

    worker.bundles[0]._on_lost(SimpleNamespace(exception=Terminated(15)))
    MessageRequest.on_failure(message, SimpleNamespace(exception=Terminated(15)))

    assert message.settled == ["given back", "rejected, requeue=True"]


def test_celerys_event_of_a_dead_letter_tells_the_failure_and_nothing_of_the_customer():
    message = Message("unlucky")
    message.delivery = Delivery(
        headers={}, payload={"ship_to": {"name": "Ada Lovelace"}}, exchange="", routing_key=""
    )
    sent: list[dict[str, Any]] = []
    message.send_event = lambda kind, **fields: sent.append({"kind": kind, **fields})

    MessageRequest.settle(
        message, Settled(Outcome.REJECTED, 0.0, "ValueError: no courier goes to Ada Lovelace of 'Soho'")
    )

    (event,) = [event for event in sent if event["kind"] == "task-failed"]
    assert event["exception"] == "ValueError: no courier goes to (hidden) of '(hidden)'"


def test_nothing_waits_any_more_once_the_connection_is_lost(worker):
    worker.controller.semaphore.value = 0
    take(worker, Message("a"))
    worker.turn()

    worker.dispatcher.forget()
    worker.free_a_child()
    worker.dispatcher.wake()

    assert worker.turn() == []


def test_a_turn_that_the_event_loop_lost_with_the_connection_leaves_nobody_deaf(worker):
    take(worker, Message("of the lost connection"))
    worker.soon.clear()  # as the event loop does where one of its callbacks meets the closed socket

    worker.dispatcher.forget()
    take(worker, Message("of the next one"))

    assert worker.turn() == [["of the next one"]]


@pytest.mark.parametrize(("header", "count"), [(None, 0), (0, 0), (3, 3), ("many", 0), ([1], 0)])
def test_only_a_number_counts_as_the_brokers_count_of_deliveries(header, count):
    message = SimpleNamespace(
        headers={"x-delivery-count": header},
        payload=[["body"], {}, {}],
        delivery_info={"redelivered": count > 0},
    )

    assert delivery_of(message).delivery_count == count
    assert delivery_of(message).was_delivered_before == (count > 0)


def test_a_place_that_becomes_free_without_a_word_is_found(worker):
    """The pool frees a killed child's place after it has told of the lost messages, and tells nobody."""
    worker.controller.semaphore.value = 0
    take(worker, Message("a"))
    assert worker.turn() == []

    worker.controller.semaphore.value = 1
    for look in worker.later:
        look()

    assert worker.turn() == [["a"]]


@pytest.mark.parametrize(("limit", "allowed"), [(2, 6), (1000, 1500), (2000, 2000), (None, None)])
def test_a_bundle_has_the_time_of_all_its_messages_within_the_brokers_patience(worker, limit, allowed):
    messages = [Message(name, batch=50) for name in "abc"]
    for message in messages:
        message._task.time_limit = limit
    take(worker, *messages)
    worker.turn()

    assert worker.pool.given[0]["timeout"] == allowed
