"""The list of dead letters: what it shows is what its address says, and what can be done with it is one click away."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.admin.letters import DeadLetterAdmin
from deadletters.collecting.words import words_of
from deadletters.models import DeadLetter, LetterAction
from eventstore import admin_history
from tests.integration.admin.records import EMAIL, NOON, record_letter

pytestmark = pytest.mark.django_db(databases="__all__")
LIST = "admin:deadletters_deadletter_changelist"
SEE_PERSONAL_DATA = "eventstore.see_personal_data"
MOST_STATEMENTS = 9


def listed(page) -> set:
    return {letter.id for letter in page.context["cl"].result_list}


def findable(letter: DeadLetter) -> DeadLetter:
    """The letter, with its words stored as the collector stores them."""
    words = words_of(
        service=letter.service, wire_type=letter.type, exception=letter.exception, body=bytes(letter.body)
    )
    DeadLetter.objects.filter(id=letter.id).update(words=words)
    return letter


def act(client, action: str, *letters: DeadLetter, address: str = "", **more: str):
    selected = {"action": action, "_selected_action": [str(letter.id) for letter in letters], "index": "0"}
    return client.post(reverse(LIST) + address, {**selected, **more})


def asked(address: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(address).query).items()}


def test_an_address_means_the_same_letters_for_everybody(superuser, client_with):
    mine = record_letter(service="billing", died_at=NOON)
    for other in (
        {"service": "shipping"},
        {"type": "orders.other.v1"},
        {"died_at": NOON - timedelta(days=2)},
    ):
        record_letter(**{"service": "billing", "died_at": NOON, **other})
    closed = record_letter(service="billing", state="resolved", closed_at=NOON)
    query = {
        "state": "open",
        "service": "billing",
        "type": mine.type,
        "since": "2026-11-23T11:00",
        "until": "2026-11-23T13:00",
    }

    for client in (superuser, client_with("view")):
        page = client.get(reverse(LIST), query)
        assert page.status_code == 200
        assert listed(page) == {mine.id}
    assert listed(superuser.get(reverse(LIST), {"state": "resolved", "service": "billing"})) == {closed.id}


def test_letters_are_found_by_order_message_identifier_and_words(superuser):
    letter = findable(record_letter(exception="KeyError: no wanderlust"))
    findable(record_letter())

    for query in (
        {"q": letter.correlation_id},
        {"q": str(letter.message_id)},
        {"q": str(letter.id)},
        {"q": "wander*"},
        {"q": "WANDERLUST key"},
        {"order": letter.correlation_id},
        {"message": str(letter.message_id)},
        {"ids": str(letter.id)},
    ):
        assert listed(superuser.get(reverse(LIST), query)) == {letter.id}, query


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"state": "lost"}, "state is &#x27;lost&#x27;; it must be one of open,"),
        ({"since": "yesterday"}, "since is &#x27;yesterday&#x27;, which is no time"),
        ({"until": "2026-13-01"}, "which is no time"),
        ({"message": "42"}, "message is &#x27;42&#x27;, which is no identifier"),
        ({"ids": "1,2"}, "which is no identifier"),
        ({"ids": ",".join(str(uuid4()) for _ in range(1001))}, "at most 1000 can be named"),
        ({"state__exact": "open"}, "There is no filter &#x27;state__exact&#x27; here"),
        ({"body__contains": "x"}, "There is no filter &#x27;body__contains&#x27; here"),
        ({"service": "bill\x00ing"}, "holds a character"),
        ({"q": "\x00"}, "holds a character"),
    ],
)
def test_a_wrong_address_says_what_is_wrong_and_shows_no_letter(superuser, query, sentence):
    letter = record_letter()

    page = superuser.get(reverse(LIST), query)

    assertContains(page, sentence, status_code=400)
    assertNotContains(page, letter.exception, status_code=400)
    assertNotContains(page, "all that match", status_code=400)


@pytest.mark.parametrize("number", ["7", "-1"])
def test_a_page_that_is_not_there_is_said_to_be_none(superuser, monkeypatch, number):
    monkeypatch.setattr(DeadLetterAdmin, "list_per_page", 1)
    for _ in range(2):
        record_letter()

    page = superuser.get(reverse(LIST), {"p": number})

    assertContains(page, f"There is no page {number} of these", status_code=400)
    assert not listed(page)


@pytest.mark.parametrize(
    "query", [{"since": "0001-01-01"}, {"until": "9999-12-31T23:59:59"}, {"p": "x"}, {"o": "9.x"}]
)
def test_an_address_at_the_edge_answers(superuser, query):
    assert superuser.get(reverse(LIST), query).status_code == 200


def test_other_pages_name_a_letter_by_any_of_its_identifiers(superuser):
    letter = record_letter(saga_id=uuid4(), replay_id=uuid4())
    page = reverse("admin:deadletters_deadletter_change", args=[letter.id])

    for name in ("id", "message_id", "correlation_id", "saga_id", "replay_id"):
        assertRedirects(superuser.get(reverse(LIST), {name: getattr(letter, name)}), page)
    twin = record_letter(correlation_id=letter.correlation_id)
    answer = superuser.get(reverse(LIST), {"correlation_id": letter.correlation_id}, follow=True)
    assert listed(answer) == {letter.id, twin.id}
    assert superuser.get(reverse(LIST), {"id": "nonsense"}, follow=True).status_code == 400


def test_the_list_says_in_words_and_as_a_number_what_it_shows(superuser):
    for _ in range(3):
        record_letter(service="billing")
    group = record_letter(service="shipping").group

    assertContains(
        superuser.get(reverse(LIST), {"state": "open", "service": "billing"}),
        "<strong>Open letters of billing</strong>: 3",
    )
    assertContains(superuser.get(reverse(LIST)), "<strong>All letters</strong>: 4")
    assertContains(superuser.get(reverse(LIST), {"group": group.fingerprint}), str(group))


def test_more_letters_than_are_listed_are_counted_by_their_tallies(superuser, monkeypatch):
    letters = [record_letter(service="notifications") for _ in range(3)]
    monkeypatch.setattr(admin_history, "MOST_LISTED", 2)
    monkeypatch.setattr("deadletters.admin.filters.MOST_LISTED", 2)

    page = superuser.get(reverse(LIST), {"service": "notifications"})

    assert page.context["cl"].result_count == 2
    assertContains(page, "The first 2 are listed; search and filters find the others.")
    assertContains(page, "<strong>Letters of notifications</strong>: 3")
    assertNotContains(superuser.get(reverse(LIST), {"q": str(letters[0].id)}), "are listed")


def test_what_matches_is_mended_by_who_may_and_where_the_state_fits(superuser, client_with):
    record_letter(service="billing")
    record_letter(service="shipping", state="discarded", closed_at=NOON)

    def offered(client, **query: str) -> set[str]:
        return {link.text for link in client.get(reverse(LIST), query).context["links"]}

    everything = {"Replay all that match…", "Discard all that match…"}
    assert offered(superuser, state="open") == everything
    assert offered(superuser) == {"Replay all open ones that match…", "Discard all open ones that match…"}
    assert offered(superuser, state="discarded") == {"Restore all that match…"}
    assert offered(superuser, state="open", service="orders") == set()
    assert offered(client_with("view", "replay"), state="open") == {"Replay all that match…"}
    assert offered(client_with("view", "discard"), state="open") == {"Discard all that match…"}
    assert offered(client_with("view"), state="open") == set()
    (link, _) = superuser.get(reverse(LIST), {"service": "billing"}).context["links"]
    assert "/deadletter/act/replay/?" in link.address
    assert asked(link.address) == {"service": "billing", "state": "open"}
    assert superuser.get(link.address).status_code == 200


def test_ticked_letters_lead_to_the_page_that_asks(superuser):
    letters = [record_letter() for _ in range(3)]

    answer = act(superuser, "discard", *letters)

    assert answer.status_code == 302
    assert "/deadletter/act/discard/?" in answer.headers["Location"]
    assert asked(answer.headers["Location"]) == {"ids": ",".join(str(letter.id) for letter in letters)}
    assert set(DeadLetter.objects.values_list("state", flat=True)) == {"open"}


def test_all_that_match_are_meant_by_the_filter_and_not_one_by_one(superuser):
    letter = record_letter(service="billing")

    answer = act(superuser, "replay", letter, address="?service=billing", select_across="1")

    assert asked(answer.headers["Location"]) == {"service": "billing", "state": "open"}


def test_ticking_nonsense_or_too_much_changes_nothing_and_says_so(superuser):
    record_letter()
    nonsense = {"action": "replay", "_selected_action": ["nonsense"], "index": "0"}

    page = superuser.post(reverse(LIST), nonsense, follow=True)

    assertContains(page, "which is no identifier")


@pytest.mark.parametrize("action", ["replay", "discard", "restore"])
def test_who_may_only_look_is_offered_nothing_and_led_nowhere(client_with, action):
    reader = client_with("view")
    letter = record_letter()

    assertNotContains(reader.get(reverse(LIST)), f'value="{action}"')
    answer = act(reader, action, letter)

    assert "/act/" not in answer.headers.get("Location", "")
    assert DeadLetter.objects.get(id=letter.id).state == "open"
    assert LetterAction.objects.filter(letter=letter).count() == 1


def test_each_permission_offers_its_own_actions_only(client_with):
    record_letter()

    page = client_with("view", "replay").get(reverse(LIST))

    assertContains(page, 'value="replay"')
    assertNotContains(page, 'value="discard"')
    assertNotContains(page, 'value="restore"')
    assert client_with().get(reverse(LIST)).status_code == 403


def test_the_list_quotes_nothing_to_who_may_not_see_personal_data(superuser, client_with):
    record_letter(exception=f"SMTPRecipientsRefused: no mail to {EMAIL}")

    assertContains(superuser.get(reverse(LIST)), EMAIL)
    assertContains(client_with("view", SEE_PERSONAL_DATA).get(reverse(LIST)), EMAIL)
    page = client_with("view").get(reverse(LIST))
    assertNotContains(page, EMAIL)
    assertContains(page, "TimeoutError in orders/handlers.py in place")


def test_an_empty_list_says_what_is_good(superuser):
    DeadLetter.objects.all().delete()
    assertContains(superuser.get(reverse(LIST)), "No dead letter: everything that came has been handled.")
    assertContains(superuser.get(reverse(LIST), {"state": "open"}), "nothing waits for a person")
    assertContains(
        superuser.get(reverse(LIST), {"q": "nothing"}), "No letter matches the search and the filters."
    )


def test_the_list_fetches_no_bodies_and_takes_as_many_statements_for_forty_letters_as_for_one(
    superuser, client_with, statements
):
    record_letter(body=b"x" * 1_000_000)
    reader = client_with("view", "replay")
    superuser.get(reverse(LIST))
    with statements() as count_one:
        superuser.get(reverse(LIST), {"state": "open"})
    for _ in range(39):
        record_letter()

    with statements() as count_forty:
        page = superuser.get(reverse(LIST), {"state": "open"})
    with statements() as count_reader:
        reader.get(reverse(LIST), {"state": "open"})
    with statements() as count_searched:
        reader.get(reverse(LIST), {"state": "open", "q": "TimeoutError"})

    assert count_one() == count_forty() <= MOST_STATEMENTS
    assert max(count_reader(), count_searched()) <= MOST_STATEMENTS
    for letter in page.context["cl"].result_list:
        assert {
            "body",
            "headers",
            "properties",
            "deaths",
            "traceback",
            "words",
        } <= letter.get_deferred_fields()


def test_the_list_carries_no_inline_script_or_style_and_escapes_what_letters_say(superuser):
    hostile = "<script>alert(1)</script>"
    record_letter(type=hostile, exception=hostile, service=hostile, correlation_id=hostile)

    page = superuser.get(reverse(LIST), {"type": hostile})

    assert listed(page)
    for inline in (" style=", "<style", "<script>", " onclick="):
        assertNotContains(page, inline)
