# Gatewright: every target calls the launcher ./gw, which works without make as well; `make help` lists them.
SHELL := /bin/sh
HOST ?= gw1
RUNS ?= 1000000

.PHONY: help setup demo test test-suites check lint unit molecule fuzz test-vm nightly lab lab-down lab-shell lab-status lock docs bench-delivery bench-door bench-engines bench-hardening bench-provision bench-scanner clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: ## packages by apt and a virtual environment, on a fresh Debian machine as root
	@./gw setup

demo: ## build a gateway in the lab, send real mail through it, and show what happened
	@./gw demo

test: ## everything: lint, unit tests, the small gateway, molecule's scenarios (about 30 minutes on 2 cores)
	@./gw test

test-suites: ## public suites of mail, in the folder that GATEWRIGHT_SUITES names, put to the scanner and to eight other readers
	@./gw pytest -s tests/suites

check: ## the fast loop: lint, of Ansible's files only what is not committed, and the quick unit tests
	@./gw check

lint: ## ruff, mypy, yamllint, ansible-lint, shellcheck, clang-format, cppcheck, and that generated docs are fresh
	@./gw lint

unit: ## unit tests and the wrong inventories
	@./gw unit

molecule: ## molecule's scenarios only
	@./gw molecule

fuzz: ## every fuzz target, RUNS inputs in all (make fuzz RUNS=10000000: a night)
	@./gw shell -c 'python -m tests.fuzz --runs $(RUNS)'

nightly: ## what takes hours: soak, fuzzing (RUNS inputs), public suites, messy hosts, cut runs, remove.yml, a machine of its own
	@RUNS=$(RUNS) ./gw nightly

test-vm: setup ## a gateway on a machine with a kernel of its own, under qemu (1 to 1.5 hours; make test-vm HOST=gw2: Debian 12)
	requirements/packages.sh requirements/apt-vm.txt
	@./gw shell -c 'python -m lab.vm $(HOST)'

lab: ## start the lab: two gateways, an office, the outside, and a name server
	@./gw lab up

lab-down: ## remove the lab's hosts and network
	@./gw lab down

lab-shell: ## a shell inside a lab host: make lab-shell HOST=gw1
	@./gw lab shell $(HOST)

lab-status: ## the lab's hosts and addresses
	@./gw lab status

docs: ## write the generated documentation again
	@./gw docs

bench-hardening: ## how hard fresh gateways are by Lynis, OpenSCAP and ssh-audit, beside stock Debian and other roles
	@./gw shell -c 'python -m bench.hardening --build'

bench-provision: ## what a first run, a no-change run and a new relay IP cost, beside a hand-written script
	@./gw shell -c 'python -m bench.provision'

bench-delivery: ## what a delivery to another server costs, beside qmail's own qmail-remote
	@./gw shell -c 'python -m bench.delivery'

bench-scanner: ## what the scanner costs, beside bare qmail and other scanners
	@./gw shell -c 'python -m bench.scanner'

bench-door: ## how long RCPT takes at the door, and what a slow name server costs
	@./gw shell -c 'python -m bench.door'

bench-engines: ## what an engine costs a message, beside its own client; on a lab built as molecule/engines
	@./gw shell -c 'python -m bench.engines'

lock: ## lock the Python packages again: versions and hashes, without addresses
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --python-version 3.11 requirements/dev.in -o requirements/dev.txt

clean: ## remove what setup and the lab keep in this checkout
	rm -rf .cache
