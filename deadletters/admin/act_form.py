"""What is asked of whoever confirms an action on dead letters."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings

from deadletters.admin.act_words import ActWords
from deadletters.admin.operator import LONGEST_REASON
from deadletters.desk import SLOWEST
from deadletters.tallies import Counted

FASTEST = 1_000
"""Letters a second that can be asked for here: the relay's own order of magnitude."""


class ActForm(forms.Form):
    """Why, when, how fast; the number that was seen, and where it is large the number typed."""

    reason = forms.CharField(max_length=LONGEST_REASON, required=False)
    begins_at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        error_messages={"invalid": "Write date and time like 2026-01-31T17:05."},
    )
    rate = forms.FloatField(
        required=False,
        min_value=SLOWEST,
        max_value=FASTEST,
        error_messages={
            "invalid": "Write a number of letters a second, such as 50.",
            "min_value": f"At least {SLOWEST:g} letters a second.",
            "max_value": f"At most {FASTEST} letters a second.",
        },
    )
    typed = forms.CharField(required=False)
    seen = forms.IntegerField()
    job_id = forms.UUIDField()

    def __init__(
        self, data: Any, *, words: ActWords, count: Counted, has_to_be_typed: bool, now: datetime
    ) -> None:
        super().__init__(data, initial={"rate": f"{min(settings.REPLAY_RATE, FASTEST):g}"})
        self.words = words
        self.count = count
        self.has_to_be_typed = has_to_be_typed
        self.is_several = count.number > 1
        self.now = now
        self.has_grown = False
        if not (words.may_be_later and self.is_several):
            del self.fields["rate"]
        if not words.may_be_later:
            del self.fields["begins_at"]

    @property
    def the_job_id(self) -> UUID | None:
        """The name that the job of this form will have, however often the form is sent."""
        found = getattr(self, "cleaned_data", {}).get("job_id")
        return found if isinstance(found, UUID) else None

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"].strip()
        if self.words.is_reason_required and not reason:
            raise forms.ValidationError("Say why: whoever comes after you wants to know.")
        return reason

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        seen = cleaned.get("seen")
        if seen is None or "job_id" not in cleaned:
            raise forms.ValidationError(
                "This form was not sent whole. Look at the letters below, and confirm again."
            )
        if self.count.number > seen:
            self.has_grown = True
            raise forms.ValidationError(
                f"There were {seen} letters when you looked; now there are {self._number()}. Nothing was done. "
                "Look again, and confirm again."
            )
        # Fewer letters than were seen are no danger: the number that was shown then may be typed too.
        typed = cleaned.get("typed", "").strip()
        if self.has_to_be_typed and typed not in (str(self.count.number), str(seen)):
            self.add_error("typed", f"Type {self.count.number}, so that nothing happens by accident.")
        return cleaned

    def clean_begins_at(self) -> datetime | None:
        """None: now."""
        begins_at: datetime | None = self.cleaned_data["begins_at"]
        if begins_at is not None and begins_at <= self.now:
            raise forms.ValidationError(
                f"That has passed: it is {self.now:%Y-%m-%d %H:%M} UTC. Choose a later time, or leave it empty for now."
            )
        return begins_at

    def _number(self) -> str:
        return str(self.count.number) if self.count.is_exact else f"more than {self.count.number}"
