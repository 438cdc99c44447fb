# Gatewright: `make demo` shows it, `make test` proves it; `make help` lists the rest.
SHELL := /bin/bash
VENV := .cache/venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/roles/scanner/files
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
HOST ?= gw1
PYTEST := pytest -q -p no:cacheprovider

.PHONY: help setup demo test check lint lint-ansible lint-changed lint-python lint-c lint-others unit molecule test-vm lab lab-down lab-shell lab-status lock docs bench-engines bench-hardening bench-provision bench-scanner clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.ready ## packages by apt and a virtual environment, on a fresh Debian machine as root

$(VENV)/.ready: requirements/dev.txt requirements/apt.txt requirements/packages.sh requirements/setup.sh
	requirements/setup.sh $(VENV)

demo: setup ## build a gateway in the lab, send real mail through it, and show what happened
	python -m lab.demo

test: setup lint ## everything: lint, unit tests, molecule's scenarios (about 45 minutes on 2 cores)
	$(PYTEST) tests/unit tests/inventories tests/molecule

check: setup ## the fast loop: lint, of Ansible's files only what is not committed, and the quick unit tests
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint-changed lint-python lint-c lint-others
	$(PYTEST) --numprocesses=2 -m 'not slow' tests/unit

lint: setup ## ruff, mypy, yamllint, ansible-lint, shellcheck, clang-format, cppcheck, and that generated docs are fresh
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-ansible lint-python lint-c lint-others

lint-ansible: # the longest, so the first
	ansible-lint --offline --strict -q

lint-changed:
	git diff --name-only --diff-filter=d HEAD -- '*.yml' | xargs --no-run-if-empty ansible-lint --offline --strict -q

lint-python:
	ruff check .
	ruff format --check .
	mypy

lint-c:
	clang-format --dry-run --Werror $$(git ls-files "*.c" "*.h")
	cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance --inline-suppr --std=c11 -Iroles/starttls/files/tls $$(git ls-files "*.c")

lint-others:
	yamllint --strict .
	git grep -lIE '^#! ?/(usr/bin/env |bin/)(ba)?sh' -- ':!*.j2' ':!*.md' ':!*.py' ':!*.yml' ':!*.patch' | xargs shellcheck
	python -m docs.generate --check

unit: setup ## unit tests and the wrong inventories
	$(PYTEST) tests/unit tests/inventories

molecule: setup ## molecule's scenarios only
	$(PYTEST) tests/molecule

test-vm: setup ## a gateway on a machine with a kernel of its own, under qemu (1 to 1.5 hours; make test-vm HOST=gw2: Debian 12)
	requirements/packages.sh requirements/apt-vm.txt
	python -m lab.vm $(HOST)

lab: setup ## start the lab: two gateways, an office, the outside, and a name server
	python -m lab up

lab-down: setup ## remove the lab's hosts and network
	python -m lab down

lab-shell: setup ## a shell inside a lab host: make lab-shell HOST=gw1
	python -m lab shell $(HOST)

lab-status: setup ## the lab's hosts and addresses
	python -m lab status

docs: setup ## write the generated documentation again
	python -m docs.generate

bench-hardening: setup ## how hard fresh gateways are by Lynis, OpenSCAP and ssh-audit, beside stock Debian and other roles
	python -m bench.hardening --build

bench-provision: setup ## what a first run, a no-change run and a new relay IP cost, beside a hand-written script
	python -m bench.provision

bench-scanner: setup ## what the scanner costs, beside bare qmail and other scanners
	python -m bench.scanner

bench-engines: setup ## what an engine costs a message, beside its own client; on a lab built as molecule/engines
	python -m bench.engines

lock: setup ## lock the Python packages again: versions and hashes, without addresses
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --python-version 3.11 requirements/dev.in -o requirements/dev.txt

clean: ## remove what setup and the lab keep in this checkout
	rm -rf .cache
