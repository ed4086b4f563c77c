"""Orders by the hundred: the same seed, the same orders, through the same code as the form's."""

import io
import json
from collections import Counter

import pytest
from django.core.management import CommandError, call_command

from contracts.orders import ConfirmOrder, RefundOrder, RefuseCancellation
from operations.mix import MIXES, of_mix, of_one_kind, with_cancellations
from operations.placing import ended_among, place, sum_up
from orders.models import Order

pytestmark = pytest.mark.django_db
PLAINLY = {"rate": None, "tick": lambda: None}


def test_the_same_seed_makes_the_same_orders():
    assert list(of_mix("realistic", count=50, seed=3)) == list(of_mix("realistic", count=50, seed=3))
    assert list(of_mix("realistic", count=50, seed=3)) != list(of_mix("realistic", count=50, seed=4))


def test_a_realistic_mix_has_every_kind_and_knows_how_each_must_end():
    wanted = list(of_mix("realistic", count=1000, seed=1))

    assert (
        len({(one.request.payment_token, one.request.lines[0][0]) for one in wanted})
        >= len(MIXES["realistic"]) - 1
    )
    ends = Counter(one.ends for one in wanted)
    assert set(ends) == {"confirmed", "cancelled"}
    assert ends["confirmed"] > 700


def test_orders_are_placed_and_summed_up():
    wanted = of_one_kind(count=3, card="approved", sku="mug", quantity=2, postcode="10115")

    ends = place(wanted, rate=None, tick=lambda: None)
    summary = sum_up(ends, seconds=1.0)

    assert Order.objects.filter(id__in=ends, total_amount=2500, status="pending").count() == 3
    assert (summary.placed, summary.unfinished, summary.p50) == (3, 3, None)


def test_the_command_says_that_orders_are_unfinished_when_nobody_carries_them_out():
    out = io.StringIO()

    with pytest.raises(CommandError, match="2 orders are unfinished"):
        call_command("place_orders", "--count", "2", "--wait", "0.1", "--json", stdout=out)

    assert json.loads(out.getvalue())["unfinished"] == 2


def test_a_share_of_the_confirmed_orders_is_to_be_cancelled_and_the_others_are_as_they_were():
    mix = list(of_mix("realistic", count=1000, seed=1))

    wanted = list(with_cancellations(mix, share=0.25, seed=1))

    assert wanted == list(with_cancellations(mix, share=0.25, seed=1))
    assert [one.request for one in wanted] == [one.request for one in mix]
    ends = Counter(one.ends for one in wanted)
    assert 150 < ends["refunded"] < 260
    changed = {(before.ends, after.ends) for before, after in zip(mix, wanted, strict=True)}
    assert changed == {("confirmed",) * 2, ("cancelled",) * 2, ("confirmed", "refunded")}


def test_what_must_end_refunded_is_cancelled_once_it_is_confirmed_and_awaited(deliver):
    kept, cancelled, gone = (
        place(of_one_kind(count=1, card="approved", sku="mug", quantity=1, postcode="10115"), **PLAINLY)
        for _ in range(3)
    )
    ends = dict.fromkeys(kept, "confirmed") | dict.fromkeys([*cancelled, *gone], "refunded")
    assert ended_among(ends, ends) == set(), "nothing is confirmed yet"
    for order_id in ends:
        deliver("orders", ConfirmOrder(order_id=order_id))

    assert ended_among(ends, ends) == set(kept)
    assert Order.objects.filter(id__in=[*cancelled, *gone], status="cancelling").count() == 2
    for order_id in cancelled:
        deliver("orders", RefundOrder(order_id=order_id))
    for order_id in gone:
        deliver("orders", RefuseCancellation(order_id=order_id, reason="shipment_left"))

    assert ended_among(ends, ends) == set(ends)
    summary = sum_up(ends, seconds=1.0)
    assert (summary.confirmed, summary.refunded, summary.unfinished) == (2, 1, 0)
    assert (summary.expected_confirmed, summary.expected_refunded) == (1, 2)
    assert summary.otherwise == [str(order_id) for order_id in gone]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--count", "1", "--cancel-share", "1.5"], "from 0 to 1"),
        (["--count", "1", "--cancel-share", "0.5", "--wait", "1"], "needs --mix and --wait"),
        (["--count", "1", "--cancel-share", "0.5", "--mix", "realistic"], "needs --mix and --wait"),
        (["--count", "0"], "at least one order"),
        (["--count", "1", "--sku", "unicorn"], "no article 'unicorn'"),
    ],
)
def test_what_cannot_be_placed_is_refused_with_a_sentence(arguments, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("place_orders", *arguments)
