"""Each page of the desk takes fewer than ten statements, and as many for many letters as for a few.

The first page asks every service's database once: tests/integration/admin/test_first_page.py counts there.
"""

from urllib.parse import urlencode

import pytest
from django.urls import reverse

from deadletters import searching
from deadletters.models import DeadLetter
from tests.integration.admin.records import NOON, record_letter, record_order

pytestmark = pytest.mark.django_db(databases="__all__")
FEWER_THAN = 10
LETTERS = "admin:deadletters_deadletter_changelist"
PAGES = {
    "groups": ("admin:deadletters_lettergroup_changelist", [], {}),
    "groups of a service": ("admin:deadletters_lettergroup_changelist", [], {"service": "orders"}),
    "a group": ("admin:deadletters_lettergroup_change", ["group"], {}),
    "letters": (LETTERS, [], {}),
    "letters, page 2": (LETTERS, [], {"p": "2"}),
    "letters in one state": (LETTERS, [], {"state": "open"}),
    "letters of one service": (LETTERS, [], {"service": "orders"}),
    "letters of one type": (LETTERS, [], {"type": "orders.order_placed.v1"}),
    "letters of one group": (LETTERS, [], {"group": "a-group"}),
    "letters of a time": (LETTERS, [], {"since": "2026-11-23", "until": "2026-11-24"}),
    "letters with a word": (LETTERS, [], {"q": "timeout"}),
    "open letters of one service with a word": (
        LETTERS,
        [],
        {"state": "open", "service": "orders", "q": "timeout"},
    ),
    "a letter": ("admin:deadletters_deadletter_change", ["letter"], {}),
    "confirming a replay": ("admin:deadletters_act", ["replay"], {"group": "a-group", "state": "open"}),
    "confirming a discard": ("admin:deadletters_act", ["discard"], {"q": "timeout"}),
    "confirming a restore": ("admin:deadletters_act", ["restore"], {}),
    "bulk jobs": ("admin:deadletters_letterjob_changelist", [], {}),
    "edits": ("admin:deadletters_letteredit_changelist", [], {}),
    "operators' log": ("admin:deadletters_deskentry_changelist", [], {}),
}


@pytest.fixture(params=["common", "rare"])
def both_ways(request, monkeypatch):
    """A search goes one of two ways, which take as many statements."""
    monkeypatch.setattr(searching, "COMMON", 0 if request.param == "common" else 10**9)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_takes_fewer_than_ten_statements(superuser, statements, broker_url, both_ways, name):
    view, arguments, query = PAGES[name]
    records = [record_letter() for _ in range(3)]
    record_letter(state="discarded", closed_at=NOON)
    record_order()
    given = {"letter": records[0].id, "group": records[0].group_id}
    address = reverse(view, args=[given.get(argument, argument) for argument in arguments])

    def count() -> int:
        with statements() as counted:
            page = superuser.get(f"{address}?{urlencode(query)}" if query else address, follow=True)
        assert page.status_code == 200, page.content
        assert page.redirect_chain == [], "another page was counted"
        return counted()

    DeadLetter.objects.update(words="orders timeout")
    count()  # once for what Django remembers from then on
    few = count()
    for number in range(60):
        record_letter(state="discarded" if number % 2 else "open", closed_at=NOON if number % 2 else None)
    DeadLetter.objects.update(words="orders timeout")

    assert count() <= few
    assert few < FEWER_THAN
