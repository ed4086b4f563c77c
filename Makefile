# Two commands are enough: `make up` runs the shop, `make test` runs the whole suite.
PYTHON ?= python3

.PHONY: help up test test-cluster bench chaos down clean

help:
	@$(PYTHON) -m launcher help

up:
	@$(PYTHON) -m launcher up

test:
	@$(PYTHON) -m launcher test $(ARGS)

test-cluster:
	@$(PYTHON) -m launcher test tests/cluster $(ARGS)

bench:
	@$(PYTHON) -m launcher bench $(ARGS)

chaos:
	@$(PYTHON) -m launcher chaos $(ARGS)

down:
	@$(PYTHON) -m launcher down

clean:
	@$(PYTHON) -m launcher clean
