"""A payment gateway that stands in for a real provider: its own process, its own books, no money.

It imports nothing of the application. What it promises is in `docs/gateway-simulator.md`.
"""
