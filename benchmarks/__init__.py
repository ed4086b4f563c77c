"""How fast Makegood is, beside other programs that do the same on the same servers: docs/benchmarks.md.

`python -m benchmarks` is run by `make bench`. The application never imports this package.
"""
