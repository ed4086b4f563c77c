"""Bulk jobs: how far each is, what came of it, and pause, resume and cancel."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import admin
from django.db.models import Case, IntegerField, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from deadletters.admin import job_words
from deadletters.admin.act_words import words_of
from deadletters.admin.addresses import letters_address
from deadletters.admin.operator import problem_seen_by
from deadletters.admin.steering import VERBS, steer, verbs_for
from deadletters.admin.words import type_of
from deadletters.filtering import LetterFilter
from deadletters.jobs.letter_job_progress import progress
from deadletters.models import DeadLetter, LetterJob, Replay
from eventstore.admin_columns import Tone, badge, may_open, page_of, time_column
from eventstore.admin_history import HistoryAdmin

STATE_TONES = {
    LetterJob.State.RUNNING: Tone.WAITING,
    LetterJob.State.PAUSED: Tone.WAITING,
    LetterJob.State.STOPPED: Tone.BAD,
    LetterJob.State.CANCELLED: Tone.UNDONE,
    LetterJob.State.FINISHED: Tone.GOOD,
}
LIVE = (LetterJob.State.RUNNING, LetterJob.State.PAUSED, LetterJob.State.STOPPED)
"""Not over: such jobs come first, and their pages follow them."""
MOST_RETURNED = 10
"""Letters that are listed on the page of the job that they came back from; the link leads to `MOST_LINKED`."""
MOST_LINKED = 50

_SHOWN = ("id", "type", "service", "state", "exception", "reason", "is_failure_known", "died_at")


@admin.register(LetterJob)
class LetterJobAdmin(HistoryAdmin):
    class Media:
        css = {"all": ("deadletters/mending.css",)}

    change_form_template = "admin/deadletters/mending/letter_job.html"
    identifiers = ("id",)
    private_texts = ("stopped_because",)
    empty_sentence = "No bulk job yet: replay several letters at once, and its progress is here."

    list_display = (
        "shown_job",
        "shown_state",
        "shown_progress",
        "requested_by",
        time_column("requested_at"),
        "shown_reason",
    )
    list_filter = ("state", "kind", "requested_at")
    search_fields = ("description", "requested_by", "reason")
    search_help_text = "The id of a job; or part of what it is done to, of a name, or of a reason"
    ordering = (
        Case(
            When(state=LetterJob.State.RUNNING, then=Value(0)),
            When(state__in=LIVE, then=Value(1)),
            default=Value(2),
            output_field=IntegerField(),
        ).asc(),
        "-requested_at",
    )
    fields = (
        "shown_what",
        ("requested_by", time_column("requested_at")),
        "reason",
        (time_column("begins_at"), time_column("advanced_at"), time_column("finished_at")),
        "shown_result",
    )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path(f"<uuid:job_id>/{verb}/", view(steer), {"verb": verb}, name=f"deadletters_letterjob_{verb}")
            for verb in VERBS
        ]
        own.append(
            path("<uuid:job_id>/progress/", view(self.show_progress), name="deadletters_letterjob_progress")
        )
        return own + super().get_urls()

    def get_fields(self, request: HttpRequest, obj: LetterJob | None = None) -> Any:
        if may_open(request.user, "django_celery_results_taskresult"):
            return self.fields
        return [field for field in self.fields if field != "shown_result"]

    @admin.display(description="job", ordering="description")
    def shown_job(self, job: LetterJob) -> str:
        return Truncator(f"{job.kind} {job.description}").chars(90)

    @admin.display(description="state", ordering="state")
    def shown_state(self, job: LetterJob) -> str:
        return badge(job.state, STATE_TONES[LetterJob.State(job.state)])

    @admin.display(description="progress")
    def shown_progress(self, job: LetterJob) -> str:
        share = job_words.share(job)
        if share.total is None:
            return share.words
        return format_html(
            '<progress class="job" max="{}" value="{}" aria-label="progress"></progress> <span class="share">{}</span>',
            share.total or 1,
            share.taken if share.total else 1,
            share.words,
        )

    @admin.display(description="reason")
    def shown_reason(self, job: LetterJob) -> str:
        return Truncator(job.reason or "–").chars(60)

    @admin.display(description="what")
    def shown_what(self, job: LetterJob) -> str:
        return f"{job.kind} {job.description}"

    @admin.display(description="result")
    def shown_result(self, job: LetterJob) -> str:
        return page_of("django_celery_results_taskresult", "as Celery keeps it", task_id=job.id)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        job: LetterJob = context["original"]
        context.update(title=f"{job.kind.capitalize()} dead letters", subtitle=None, **_live(request, job))
        return super().render_change_form(request, context, *args, **kwargs)

    def show_progress(self, request: HttpRequest, job_id: UUID) -> HttpResponse:
        """What changes on a job's page, for the page to fetch again and again."""
        job = self.get_object(request, str(job_id))
        if job is None:
            raise Http404(f"There is no job {job_id}.")
        if not self.has_view_permission(request, job):
            return HttpResponse("Not permitted.", status=HTTPStatus.FORBIDDEN)
        return TemplateResponse(request, "admin/deadletters/mending/job_progress.html", _live(request, job))


def _live(request: HttpRequest, job: LetterJob) -> dict[str, Any]:
    words, told = words_of(LetterJob.Kind(job.kind)), progress(job)
    returned = _returned(job) if told.failed else []
    may = request.user.has_perm(words.permission)
    return {
        "job": job,
        "words": words,
        "tone": STATE_TONES[LetterJob.State(job.state)].value,
        "state": job.state,
        "is_live": job.state in LIVE,
        "is_stopped": job.state == LetterJob.State.STOPPED,
        "progress": told,
        # Why it has stopped is said in a box of its own.
        "sentence": told.sentence.removesuffix(job.stopped_because).strip(),
        "share": job_words.share(job),
        "stages": job_words.stages(job),
        "returned": [
            (letter, type_of(letter), Truncator(problem_seen_by(request, letter)).chars(120))
            for letter in returned[:MOST_RETURNED]
        ],
        "returned_letters": letters_address(LetterFilter(ids=tuple(letter.id for letter in returned))),
        "still_there": letters_address(msgspec.structs.replace(_asked(job), state=words.needs.value)),
        "may_replay": may and job.kind == LetterJob.Kind.REPLAY,
        "verbs": verbs_for(job) if may else [],
        "lacks": "" if may or job.state not in LIVE else words.permission,
        "now": f"{timezone.now():%H:%M:%S}",
    }


def _returned(job: LetterJob) -> list[DeadLetter]:
    """The letters that came back from the job's replays, newest first."""
    failed = Replay.objects.filter(job=job, outcome=Replay.Outcome.FAILED).order_by("-finished_at")
    newest = list(failed.values_list("id", flat=True)[:MOST_LINKED])
    letters = DeadLetter.objects.filter(replay_id__in=newest).order_by("-died_at", "-id").only(*_SHOWN)
    return list(letters[:MOST_LINKED])


def _asked(job: LetterJob) -> LetterFilter:
    return msgspec.convert(job.filter, LetterFilter)
