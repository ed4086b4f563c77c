"""Seeded histories of sagas: the pure decisions in a model of a world where everything goes wrong."""
