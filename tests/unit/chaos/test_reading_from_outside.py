"""What the nemesis reads of a shop that it does not know from the inside."""

import pytest

from chaos.broker import Route
from chaos.chart import bars, marks, pace
from chaos.findings import read_json
from chaos.mails import Mail, read

MAIL = """\
Content-Type: text/plain; charset="utf-8"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Subject: Your order is confirmed
From: Makegood <shop@example.com>
To: customer-1@example.com
Message-ID:
 <01a20feb-0cfa-76ff-9591-d5c61b6dd496@makegood.example>

Hello Customer 1,

your order 01a20feb-5ce6-7485-aaef-97873600d80b is confirmed. We have charged 12.00 EUR.

"""
LINE = "-" * 79 + "\n"


@pytest.mark.parametrize(
    ("pattern", "routing_key", "is_taken"),
    [
        ("billing.*", "billing.void_payment", True),
        ("billing.*", "billing", False),
        ("billing.*", "shipping.book", False),
        ("orders.order_placed.v1", "orders.order_placed.v1", True),
        ("orders.order_placed.v1", "orders.order_placed.v2", False),
        ("#", "orders.order_placed.v1", True),
        ("orders.#", "orders", True),
        ("#.v1", "orders.order_placed.v1", True),
    ],
)
def test_a_binding_takes_what_the_broker_would_route_by_it(pattern, routing_key, is_taken):
    assert Route("events", pattern, "sagas").takes("events", routing_key) is is_taken


def test_a_binding_takes_nothing_of_another_exchange():
    assert not Route("events", "#", "sagas").takes("commands", "billing.void_payment")


def test_e_mails_are_read_with_what_they_say(tmp_path):
    (tmp_path / "1.log").write_text(MAIL + LINE)

    assert list(read(tmp_path)) == [
        Mail(
            "01a20feb-0cfa-76ff-9591-d5c61b6dd496@makegood.example",
            "01a20feb-5ce6-7485-aaef-97873600d80b",
            "confirmed",
        )
    ]


def test_several_e_mails_in_one_file_are_several_and_half_a_one_is_none(tmp_path):
    (tmp_path / "1.log").write_text(MAIL + LINE + MAIL + LINE + MAIL[:150])

    assert len(list(read(tmp_path))) == 2


def test_the_summary_of_a_command_is_its_last_line_of_json():
    assert read_json('warning\n{"placed": 1}\n') == {"placed": 1}
    assert read_json("Traceback") is None


def test_the_pace_is_that_of_each_part_of_the_run():
    assert pace([(0.0, 0), (5.0, 50), (10.0, 50)], width=2) == [10.0, 0.0]
    assert pace([(0.0, 0)]) == []


def test_little_is_shown_as_more_than_nothing():
    assert bars([0.0, 0.1, 5.0, 10.0]) == " ▁▄█"
    assert marks([(0.0, "R"), (9.9, "P")], seconds=10.0, width=4) == "R  P"
