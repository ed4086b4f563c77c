"""A gap is shown with its age, and what never comes is given up by name and with a reason."""

import pytest
from django.core.management import CommandError, call_command

from messaging.envelope import utc_now
from messaging.gaps import gaps
from messaging.models import SkippedEvents
from tests.integration.messaging.ordered_consumer import (
    DATABASE,
    SERVICE,
    a_stream,
    an_event,
    deliver,
    held_back,
    position,
    take_outgoing,
)

pytestmark = pytest.mark.usefixtures("committed")


def test_a_gap_is_listed_with_its_age(consumer, capsys):
    stream = a_stream()
    deliver(an_event(stream, 4))
    deliver(an_event(stream, 5))

    (gap,) = [gap for gap in gaps(SERVICE, before=utc_now()) if gap.stream == stream]
    assert (gap.first, gap.last, gap.held) == (1, 3, 2)
    call_command("streams", "gaps")
    assert f"number 1 to 3 of {stream} is missing, 2 held back" in capsys.readouterr().out


def test_events_that_never_come_are_given_up_with_name_and_reason(consumer):
    stream = a_stream()
    deliver(an_event(stream, 1))
    deliver(an_event(stream, 4))

    call_command("streams", "skip", SERVICE, stream, "3", "--reason", "restored from a backup", "--by", "ada")

    (fourth,) = take_outgoing(stream)
    deliver(fourth)
    deliver(an_event(stream, 3))
    assert consumer.handled(stream) == [1, 4], "what was given up is not handled when it comes after all"
    record = SkippedEvents.objects.using(DATABASE).get(stream=stream)
    assert (record.first_sequence, record.last_sequence) == (2, 3)
    assert (record.skipped_by, record.reason) == ("ada", "restored from a backup")


@pytest.mark.parametrize(
    ("stream", "sequence", "reason", "problem"),
    [
        ("known", "4", "why", "Number 4 of"),
        ("known", "1", "why", "1 is behind it"),
        ("unknown", "1", "why", "knows no stream"),
        ("known", "3", " ", "Say why"),
    ],
)
def test_skipping_never_loses_what_has_arrived(consumer, stream, sequence, reason, problem):
    known = a_stream()
    deliver(an_event(known, 1))
    deliver(an_event(known, 4))
    named = known if stream == "known" else a_stream()

    with pytest.raises(CommandError, match=problem):
        call_command("streams", "skip", SERVICE, named, sequence, "--reason", reason)

    assert (position(known), held_back(known)) == (1, [4])
    assert not SkippedEvents.objects.using(DATABASE).filter(stream=named).exists()
