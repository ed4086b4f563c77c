"""Bulk jobs in the admin: how far each is, what came of it, and what can be done with it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from deadletters.models import DeskEntry, LetterJob
from tests.integration.admin.jobs_at_hand import came_back, record_job, replayed
from tests.integration.admin.people import DISCARD, LOOKS, REPLAY, staff
from tests.integration.admin.records import NOON, record_letter

pytestmark = pytest.mark.django_db
LIST = "admin:deadletters_letterjob_changelist"


def page_of(client: Client, job: LetterJob):
    return client.get(reverse("admin:deadletters_letterjob_change", args=[job.id]))


def address(verb: str, job: LetterJob) -> str:
    return reverse(f"admin:deadletters_letterjob_{verb}", args=[job.id])


def state_of(job: LetterJob) -> str:
    return LetterJob.objects.get(id=job.id).state


@pytest.fixture
def operator(db: None) -> Client:
    return staff("ada", *LOOKS, REPLAY, DISCARD)


# --- the list -----------------------------------------------------------------------------------------------


def test_what_runs_comes_first_then_what_waits_for_a_person(operator):
    jobs = {
        state: record_job(state=state, requested_at=NOON + timedelta(minutes=age))
        for age, state in enumerate(("running", "stopped", "paused", "cancelled", "finished"))
    }

    page = operator.get(reverse(LIST))

    assert [job.state for job in page.context["cl"].result_list] == [
        "running",
        "paused",
        "stopped",
        "finished",
        "cancelled",
    ]
    assertContains(page, '<progress class="job" max="30" value="6"')
    assertContains(page, "6 of 30 (20 %)")
    assertContains(page, page_of(operator, jobs["running"]).request["PATH_INFO"])


def test_the_list_is_narrowed_by_state_and_kind(operator):
    record_job()
    wanted = record_job(kind="discard", state="paused", ramp=[])

    for asked in ({"kind__exact": "discard"}, {"state__exact": "paused"}):
        assert list(operator.get(reverse(LIST), asked).context["cl"].result_list) == [wanted]


def test_without_a_job_the_list_says_how_one_comes_to_be(operator):
    assertContains(operator.get(reverse(LIST)), "No bulk job yet: replay several letters at once")


def test_the_list_costs_few_statements(operator, statements):
    for _ in range(20):
        record_job()

    with statements() as count:
        assert operator.get(reverse(LIST)).status_code == 200
    assert count() < 10


# --- the page -----------------------------------------------------------------------------------------------


def test_a_running_job_says_how_far_it_is_and_what_came_of_it(operator):
    job = record_job()
    replayed(job, record_letter(state="replaying"))

    page = page_of(operator, job)

    assertContains(page, "6 of 30 letters sent again: 5 handled, 1 under way, 0 came back.")
    assertContains(page, 'aria-current="step"', count=1)
    assertContains(page, "24 others")
    assertContains(page, "the gateway is back")
    assertContains(page, "deadletters/job.js")
    assertContains(page, f'data-address="{address("progress", job)}"')
    assertContains(page, "Refresh")
    assertContains(page, "state=open&amp;service=billing")
    assertNotContains(page, "task_id=")  # the result is no page that an operator may open


def test_who_may_open_the_job_s_result_is_led_to_it(superuser):
    job = record_job()

    assertContains(page_of(superuser, job), f"task_id={job.id}")


def test_a_stopped_job_says_why_and_what_to_do_next(operator):
    job = record_job(state="stopped")
    letter = came_back(job)

    page = page_of(operator, job)

    assertContains(page, "It stopped by itself")
    assertContains(page, "A letter came back with the same failure.", count=1)
    assertContains(page, "try it in a dry run")
    assertContains(page, reverse("admin:deadletters_dry_run", args=[letter.id]))
    assertContains(page, f"ids={letter.id}")
    assertContains(page, address("resume", job))
    assertContains(page, address("cancel", job))
    assertNotContains(page, address("pause", job))


@pytest.mark.parametrize("state", ["cancelled", "finished"])
def test_a_job_that_is_over_can_only_be_read(operator, state):
    job = record_job(state=state)

    page = page_of(operator, job)

    for verb in ("pause", "resume", "cancel"):
        assertNotContains(page, address(verb, job))
    assertNotContains(page, "job.js")
    assertNotContains(page, "Refresh")


def test_a_job_that_discards_has_no_stages_and_awaits_nothing(operator):
    page = page_of(operator, record_job(kind="discard", ramp=[], total=1200, done=500, refused=2))

    assertContains(page, "502 of 1200 (41 %)")
    assertNotContains(page, 'class="ramp"')
    assertNotContains(page, "not answered yet")


def test_the_part_that_changes_is_fetched_alone(operator):
    job = record_job()

    part = operator.get(address("progress", job))

    assertContains(part, 'data-region="progress"')
    assertContains(part, 'data-state="running"')
    assertContains(part, 'aria-live="polite"')
    assertNotContains(part, "<html")
    assert staff("eve").get(address("progress", job)).status_code == 403


@pytest.mark.parametrize("part", ["change", "progress"])
def test_the_page_costs_few_statements_however_many_letters_came_back(operator, statements, part):
    job = record_job(state="stopped")
    for _ in range(15):
        came_back(job)

    with statements() as count:
        page = operator.get(address(part, job))
    assert count() < 10
    assertContains(page, "Dry run</button>", count=10)


def test_hostile_text_is_shown_and_does_nothing(operator):
    hostile = "<script>alert(1)</script>"
    job = record_job(
        state="stopped", description=hostile, reason=hostile, stopped_because=hostile, requested_by=hostile
    )
    came_back(job, type=hostile, exception=hostile)

    for page in (
        operator.get(reverse(LIST)),
        page_of(operator, job),
        operator.get(address("progress", job)),
        operator.get(address("resume", job)),
    ):
        assertNotContains(page, hostile)
        for inline in (" style=", "<style", "<script>", " onclick="):
            assertNotContains(page, inline)


# --- pause, resume, cancel ------------------------------------------------------------------------------------


def test_a_job_is_paused_and_resumed_by_a_button(operator):
    job = record_job()

    assertRedirects(operator.post(address("pause", job)), page_of(operator, job).request["PATH_INFO"])
    assert state_of(job) == "paused"
    operator.post(address("resume", job))
    assert state_of(job) == "running"

    told = DeskEntry.objects.order_by("id").values_list("by", "action", "outcome", "job_id")
    assert list(told) == [("ada", "pause", "done", job.id), ("ada", "resume", "done", job.id)]


def test_a_job_that_stopped_is_resumed_only_with_a_reason(operator):
    job = record_job(state="stopped")

    assertContains(operator.get(address("resume", job)), "Has what was broken been mended?")
    assertContains(operator.post(address("resume", job), {"reason": " "}), "Say why", status_code=422)
    assert state_of(job) == "stopped"

    operator.post(address("resume", job), {"reason": "the handler is mended"})
    assert state_of(job) == "running"
    assert DeskEntry.objects.get().reason == "the handler is mended"


def test_cancelling_is_asked_about_first(operator):
    job = record_job()

    assertContains(operator.get(address("cancel", job)), "It takes no more letters, for good.")
    assert operator.post(address("cancel", job)).status_code == 422
    assert state_of(job) == "running"

    operator.post(address("cancel", job), {"reason": "the wrong letters"})
    assert state_of(job) == "cancelled"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_looking_steers_nothing(operator, verb):
    for state in ("running", "paused", "stopped"):
        job = record_job(state=state)
        operator.get(address(verb, job), {"reason": "x"})
        assert state_of(job) == state
    assert not DeskEntry.objects.exists()


def test_what_comes_too_late_is_answered_in_words(operator):
    job = record_job(state="finished")

    assertContains(operator.get(address("pause", job)), "cannot be paused from there")
    page = operator.post(address("pause", job), follow=True)

    assertContains(page, "is finished; only one that is running can become paused")
    assert state_of(job) == "finished"


def test_a_job_that_is_not_there_is_answered_in_words(operator):
    job = LetterJob(id=uuid4())

    assertContains(operator.get(address("cancel", job)), "There is no job", status_code=404)
    assert operator.get(address("progress", job)).status_code == 404
