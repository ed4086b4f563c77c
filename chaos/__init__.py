"""The nemesis: a run of many orders during which everything that can fail is made to fail, and what came of it.

Stands apart from the application, which it reaches from outside only: by its commands, by AMQP and by SQL. It uses
the launcher's servers and supervisor, so that what it kills is what `make up` runs. Started by `make chaos`.
"""
