"""`manage.py dead_letters`: the same moves from a terminal."""

import io
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from deadletters.models import DeadLetter, LetterAction, LetterJob, Replay
from tests.integration.admin.records import record_letter

pytestmark = pytest.mark.django_db


def run(*arguments: object) -> str:
    out = io.StringIO()
    call_command("dead_letters", *map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def state_of(letter: DeadLetter) -> str:
    return DeadLetter.objects.get(id=letter.id).state


def test_the_list_is_filtered_and_comes_as_text_or_json():
    ours = record_letter(service="shipping", type="shipping.book_shipment.v1")
    record_letter(service="billing")

    text = run("list", "--service", "shipping", "--state", "open")
    lines = [json.loads(line) for line in run("list", "--service", "shipping", "--json").splitlines()]

    assert str(ours.id) in text
    assert "shipping.book_shipment.v1  TimeoutError: the gateway did not answer" in text
    assert str(ours.id) in {line["id"] for line in lines}
    assert {line["service"] for line in lines} == {"shipping"}


def test_an_empty_list_says_so_beside_the_output():
    told, as_json = io.StringIO(), io.StringIO()

    call_command("dead_letters", "list", "--type", "no.such.v1", stderr=told)
    call_command("dead_letters", "list", "--type", "no.such.v1", "--json", stderr=as_json)

    assert told.getvalue() == "No dead letter matches.\n"
    assert as_json.getvalue() == ""


def test_a_letter_is_shown_with_everything():
    letter = record_letter()

    told = json.loads(run("show", letter.id, "--json"))

    assert told["headers"]["message_id"] == str(letter.message_id)
    assert told["actions"][0]["by"] == "ada"
    assert json.loads(told["body"])[1:] == [{}, {}]
    assert "traceback: Traceback (most recent call last)" in run("show", letter.id)


def test_letters_are_replayed_discarded_and_restored_in_somebodys_name():
    replayed, discarded = record_letter(), record_letter()

    assert "1 dead letter: sent again" in run("replay", replayed.id, "--by", "grace", "--reason", "mended")
    run("discard", discarded.id, "--by", "grace", "--reason", "a test order")
    run("restore", discarded.id)

    assert (state_of(replayed), state_of(discarded)) == ("replaying", "open")
    assert Replay.objects.get(letter=replayed).requested_by == "grace"
    kinds = LetterAction.objects.filter(letter=discarded, kind="discarded").values_list("by", "reason")
    assert list(kinds) == [("grace", "a test order")]


def test_all_that_match_are_moved_after_a_question(monkeypatch):
    service = f"service-{uuid4().hex[:8]}"
    letters = [record_letter(service=service) for _ in range(3)]
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "no")

    with pytest.raises(CommandError, match="Nothing was done"):
        run("discard", "--all-matching", "--service", service, "--reason", "wrong")
    assert "discard 3 dead letters?" in asked[0]
    told = json.loads(
        run("discard", "--all-matching", "--service", service, "--reason", "wrong", "--yes", "--json")
    )

    assert set(told["done"]) == {str(letter.id) for letter in letters}
    assert told["refused"] == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "Which letters"),
        (["replay", "nonsense"], "no identifier"),
        (["show", "nonsense"], "no letter's id"),
        (["show", str(uuid4())], "There is no dead letter"),
        (["replay", str(uuid4()), "--service", "billing"], "not both"),
        (["replay", "--all-matching", "--type", "no.such.v1", "--yes"], "No dead letter matches"),
        (["list", "--limit", "0"], "at least one"),
        (["discard", str(uuid4())], "--reason"),
        (["discard", str(uuid4()), "--reason", " "], "Say why"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments, said):
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_a_letter_that_is_refused_ends_the_command_with_an_error():
    good, bad = record_letter(), record_letter(body=b"\xff")
    run("discard", good.id, "--reason", "a test")

    with pytest.raises(CommandError, match="1 of 1 dead letters stay as they are"):
        run("replay", bad.id)
    with pytest.raises(CommandError, match="1 of 2 dead letters stay as they are"):
        run("discard", good.id, bad.id, "--reason", "both")

    assert (state_of(good), state_of(bad)) == ("discarded", "discarded")


def test_several_are_replayed_by_a_bulk_job_that_the_command_need_not_wait_for():
    letters = [record_letter() for _ in range(3)]

    told = json.loads(run("replay", *(letter.id for letter in letters), "--no-wait", "--json", "--rate", "7"))

    job = LetterJob.objects.get(id=told["job_id"])
    assert (job.kind, job.state, job.rate, told["state"]) == ("replay", "running", 7, "running")
    assert {state_of(letter) for letter in letters} == {"open"}


def test_a_replay_later_is_a_job_too_and_is_not_waited_for():
    letter = record_letter()

    said = run("replay", letter.id, "--at", "2100-01-31T17:05")

    assert "bulk job" in said
    assert LetterJob.objects.get(filter__ids=[str(letter.id)]).begins_at == datetime(
        2100, 1, 31, 17, 5, tzinfo=UTC
    )
    with pytest.raises(CommandError, match="which has passed"):
        run("replay", letter.id, "--at", "2000-01-31")


def test_groups_are_told_with_their_figures():
    letter = record_letter()

    told = {
        line["fingerprint"]: line
        for line in map(json.loads, run("groups", "--limit", "1000", "--json").splitlines())
    }

    group = told[letter.group_id]
    assert group["open"] >= 1
    assert letter.service in group["services"]
    assert sum(group["deaths_by_hour"]) <= group["letters"]
    assert letter.group_id in run("groups", "--all", "--limit", "1000")


def test_a_letter_is_exported_as_a_test(tmp_path):
    letter = record_letter()

    printed = run("export", letter.id)
    run("export", letter.id, "--to", tmp_path / "test_letter.py")

    compile(printed, "test_letter.py", "exec")
    assert (tmp_path / "test_letter.py").read_text() == printed


def test_the_test_of_a_letter_comes_as_json_too(tmp_path):
    letter = record_letter(service="shipping")

    printed = json.loads(run("export", letter.id, "--json"))
    written = json.loads(run("export", letter.id, "--json", "--to", tmp_path / "test_letter.py"))

    assert (printed["id"], printed["written_to"]) == (str(letter.id), None)
    assert printed["source"] == run("export", letter.id) == (tmp_path / "test_letter.py").read_text()
    assert written["written_to"] == str(tmp_path / "test_letter.py")
    with pytest.raises(CommandError, match="cannot be written"):
        run("export", letter.id, "--to", tmp_path / "nowhere" / "test_letter.py")


def test_as_many_as_anybody_asks_for_are_listed():
    letter = record_letter(service="shipping")

    assert str(letter.id) in run("list", "--service", "shipping", "--limit", 10**30)
    assert run("groups", "--all", "--limit", 10**30)
