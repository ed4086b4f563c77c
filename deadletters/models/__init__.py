"""Dead letters and what operators do about them. The tables are in `default` alone. docs/lifecycle.md has the moves."""

from deadletters.models.desk import DeskEntry, LetterEdit, LetterJob
from deadletters.models.letters import DeadLetter, LetterAction, LetterGroup, LetterTally, Replay

__all__ = [
    "DeadLetter",
    "DeskEntry",
    "LetterAction",
    "LetterEdit",
    "LetterGroup",
    "LetterJob",
    "LetterTally",
    "Replay",
]
