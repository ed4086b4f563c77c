"""Orders by the hundred: the same seed, the same orders, through the same code as the form's."""

import io
import json
from collections import Counter

import pytest
from django.core.management import CommandError, call_command

from operations.mix import MIXES, of_mix, of_one_kind
from operations.placing import place, sum_up
from orders.models import Order

pytestmark = pytest.mark.django_db


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


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--count", "0"], "at least one order"),
        (["--count", "1", "--sku", "unicorn"], "no article 'unicorn'"),
    ],
)
def test_what_cannot_be_placed_is_refused_with_a_sentence(arguments, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("place_orders", *arguments)
