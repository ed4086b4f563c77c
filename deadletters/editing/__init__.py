"""A letter's message as somebody wants it instead."""
