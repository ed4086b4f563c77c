"""What the page of a dead letter asks for."""

from django import template

from deadletters.models import DeadLetter
from operations import letter_context

register = template.Library()


@register.simple_tag
def saga_of(letter: DeadLetter) -> letter_context.LetterSaga | None:
    return letter_context.saga_of(letter)
