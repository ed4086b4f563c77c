"""The shapes of the definitions that have been released: what running sagas of each name and version depend on.

A definition may be worded anew; its shape changes only under a new version. `manage.py sagas shapes --write` adds what
is not listed yet and overwrites nothing.
"""

SHAPES: dict[tuple[str, int], str] = {
    ("checkout", 1): "860cab31771fd285",
    ("refund", 1): "f0652e57cc8c415f",
    ("checkout", 2): "deba648a9943fd64",
}
