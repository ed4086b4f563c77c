"""Streams of news: woken when something changes, ended when there is no more, bounded in number."""

import threading

import pytest

from orders import live
from orders.live import Listener, Stream, TooManyStreams


@pytest.fixture
def listener(monkeypatch):
    """A listener whose thread hears nothing from a database; tests wake its streams themselves."""
    monkeypatch.setattr(Listener, "_listen", lambda self: None)
    return Listener(most_streams=2)


def a_stream(listener, states, seen=""):
    return Stream("order", read=lambda: states[0], seen=seen, listener=listener)


def test_the_state_is_sent_first_and_a_finished_order_ends_the_stream(listener):
    pieces = list(a_stream(listener, [("v1", "<p>one</p>\n<p>two</p>", True)]))

    assert pieces[1] == b"event: progress\nid: v1\ndata: <p>one</p>\ndata: <p>two</p>\n\n"
    assert len(pieces) == 2


def test_a_state_that_was_seen_is_not_sent_again(listener):
    assert list(a_stream(listener, [("v1", "<p>one</p>", True)], seen="v1")) == [b"retry: 1000\n\n"]


def test_news_wakes_the_stream(listener):
    states = [("v1", "one", False)]
    stream = a_stream(listener, states)
    pieces = iter(stream)
    next(pieces)
    assert b"one" in next(pieces)

    states[0] = ("v2", "two", True)
    stream._subscription.wake()

    assert b"id: v2" in next(pieces)


def test_a_stream_ends_when_the_process_stops(listener):
    pieces = iter(a_stream(listener, [("v1", "one", False)]))
    next(pieces), next(pieces)
    ended = threading.Thread(target=lambda: list(pieces))
    ended.start()

    listener.stop()

    ended.join(timeout=2)
    assert not ended.is_alive()


def test_a_stream_ends_after_its_time(listener, monkeypatch):
    monkeypatch.setattr(live, "STREAM_SECONDS", 0.0)

    assert list(a_stream(listener, [("v1", "one", False)])) == [b"retry: 1000\n\n"]


def test_a_silent_stream_shows_now_and_then_that_it_is_there(listener, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    pieces = iter(a_stream(listener, [("v1", "one", False)]))
    next(pieces), next(pieces)

    assert next(pieces) == b": still here\n\n"


def test_there_are_only_so_many_streams_and_a_closed_one_makes_room(listener):
    first = a_stream(listener, [("v1", "one", False)])
    a_stream(listener, [("v1", "one", False)])
    with pytest.raises(TooManyStreams):
        a_stream(listener, [("v1", "one", False)])

    first.close()
    first.close()

    a_stream(listener, [("v1", "one", False)])
    with pytest.raises(TooManyStreams):
        a_stream(listener, [("v1", "one", False)])
