.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help up down test check bench docs lock venv

scripts := lab/up lab/down lab/reclaim lab/test lab/collect-logs lab/host/*.sh ami/provision/*.sh ami/files/manager/manager-up ami/files/manager/swarmhub requirements/lock tests/stock/run .ci/run
python := .venv/bin/python

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## bring the local cloud up: a hub, a manager and two workers on this machine
	@lab/up

down: ## take the local cloud away again
	@lab/down

test: check ## run every test: the checks, then the local cloud, its drills and a browser
	@lab/host/test-tools.sh chromium
	@lab/test

check: venv ## format, lint, types and unit tests: under a minute, no Docker
	@lab/host/test-tools.sh shellcheck
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@shellcheck --external-sources $(scripts)
	@$(python) -m pytest --quiet tests/unit

bench: venv ## measure starting servers on the running local cloud: ours, stock dockerspawner, raw swarm
	@$(python) -m bench

docs: venv ## write the reference pages from the code
	@$(python) docs/generate.py

lock: venv ## write the locked requirements anew (requirements/*.txt)
	@PATH="$$PWD/.venv/bin:$$PATH" requirements/lock

venv:
	@lab/host/python.sh
