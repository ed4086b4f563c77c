"""Dead letters in the admin: seen by those who may see, moved by those who may move, and every move recorded."""

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from deadletters.models import DeadLetter, LetterAction, Replay
from eventstore import admin_history
from tests.integration.admin.records import STREET, TOKEN, record_letter

pytestmark = pytest.mark.django_db
LIST = "admin:deadletters_deadletter_changelist"


@pytest.fixture
def client_with(db):
    """Somebody of the staff with these permissions on dead letters, and no others."""

    def client_with_(*names: str) -> Client:
        user = User.objects.create_user("-".join(names) or "nobody", is_staff=True)
        kind = ContentType.objects.get_for_model(DeadLetter)
        for name in names:
            permission, _ = Permission.objects.get_or_create(
                content_type=kind, codename=f"{name}_deadletter", defaults={"name": name}
            )
            user.user_permissions.add(permission)
        client = Client()
        client.force_login(user)
        return client

    return client_with_


def act(client: Client, action: str, *letters: DeadLetter, **more: str):
    selected = {"action": action, "_selected_action": [str(letter.id) for letter in letters], "index": "0"}
    return client.post(reverse(LIST), {**selected, **more}, follow=True)


def state_of(letter: DeadLetter) -> str:
    return DeadLetter.objects.get(id=letter.id).state


def test_a_letter_tells_all_that_is_known_of_it(superuser):
    first = record_letter()
    letter = record_letter(follows=first, saga_id=first.id, step="reserve")

    page = superuser.get(reverse("admin:deadletters_deadletter_change", args=[letter.id]))

    for said in (
        "open: waits for a person",
        "TimeoutError: the gateway",
        TOKEN,
        "restored by ada: by mistake",
    ):
        assertContains(page, said)
    assertContains(page, "TimeoutError in orders/handlers.py in place")
    assertContains(page, str(first.id))


def test_customers_and_tokens_are_hidden_from_everybody_but_superusers(client_with):
    reader = client_with("view")
    whole = record_letter(headers={"token": TOKEN})
    broken = record_letter(body=f"not JSON, with {TOKEN}".encode())

    for letter in (whole, broken):
        page = reader.get(reverse("admin:deadletters_deadletter_change", args=[letter.id]))
        assert page.status_code == 200
        assertNotContains(page, TOKEN)
        assertNotContains(page, STREET)
    assert DeadLetter.objects.get(id=whole.id).headers == {"token": TOKEN}


@pytest.mark.parametrize("action", ["replay", "discard", "restore"])
def test_who_may_only_look_is_offered_nothing_and_refused_everything(client_with, action):
    reader = client_with("view")
    letter = record_letter()

    assertNotContains(reader.get(reverse(LIST)), f'value="{action}"')
    act(reader, action, letter, confirmed="yes", reason="I may not")

    assert state_of(letter) == "open"
    assert LetterAction.objects.filter(letter=letter).count() == 1


def test_each_permission_allows_its_own_actions_only(client_with):
    letter = record_letter()

    replayer = client_with("view", "replay")
    act(replayer, "discard", letter, confirmed="yes", reason="not mine")
    assert state_of(letter) == "open"
    act(replayer, "replay", letter, confirmed="yes")
    assert state_of(letter) == "replaying"
    assert Replay.objects.get(letter=letter).requested_by == "view-replay"


def test_nothing_happens_before_it_was_said_why(superuser):
    letter = record_letter()

    page = act(superuser, "discard", letter)
    assertContains(page, "Discard 1 dead letter?")
    assert state_of(letter) == "open"

    page = act(superuser, "discard", letter, confirmed="yes", reason="  ")
    assertContains(page, "Say why")
    assert state_of(letter) == "open"

    page = act(superuser, "discard", letter, confirmed="yes", reason="a test order")
    assertContains(page, "1 dead letters: discarded.")
    assert state_of(letter) == "discarded"
    action = LetterAction.objects.filter(letter=letter).latest("id")
    assert (action.kind, action.by, action.reason) == ("discarded", "superuser", "a test order")

    act(superuser, "restore", letter, confirmed="yes")
    assert state_of(letter) == "open"


def test_the_page_that_asks_shows_the_first_letters_and_counts_the_others(superuser):
    letters = [record_letter() for _ in range(12)]

    page = act(superuser, "replay", *letters)

    assertContains(page, "Replay 12 dead letters?")
    assertContains(page, "and 2 more.")
    first = max(letters, key=lambda letter: letter.id)
    assertContains(page, f'<th scope="row">{first.type}</th>', count=10)
    assertContains(page, first.correlation_id)
    assertContains(page, first.exception)


def test_a_long_list_counts_no_further_than_it_shows(superuser, monkeypatch):
    letters = [record_letter(service="notifications") for _ in range(3)]
    monkeypatch.setattr(admin_history, "MOST_LISTED", 2)

    page = superuser.get(reverse(LIST))

    assert page.context["cl"].result_count == 2
    assertContains(page, "The first 2 are listed; search and filters find the others.")
    assertNotContains(superuser.get(reverse(LIST), {"q": str(letters[0].id)}, follow=True), "are listed")


def test_what_stays_is_named_with_the_reason(superuser):
    letter = record_letter(body=b"\xff")

    page = act(superuser, "replay", letter, confirmed="yes")

    assertContains(page, f"Letter {letter.id} stays as it is. It cannot be sent again: its body is not JSON")


def test_the_page_that_asks_carries_no_inline_script_or_style(superuser):
    page = act(superuser, "replay", record_letter())

    for inline in (" style=", "<style", "<script>", " onclick="):
        assertNotContains(page, inline)


def test_the_list_fetches_no_bodies(superuser):
    record_letter(body=b"x" * 1_000_000)

    page = superuser.get(reverse(LIST))

    assert page.context["cl"].result_list
    for letter in page.context["cl"].result_list:
        assert {"body", "headers", "properties", "deaths", "traceback"} <= letter.get_deferred_fields()
