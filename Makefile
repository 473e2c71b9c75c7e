# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target installs what it needs and lacks: Debian packages, a virtual environment in .venv, Python packages.
# requirements/*.in name the Python packages, requirements/*.txt hold every version.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
LAB := python3 tests/lab/lab.py
# The collection under the path that Ansible looks for it
TREE := .cache/collections/ansible_collections/cerss/zfs

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LC_ALL := C.UTF-8
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export PYTEST_DEBUG_TEMPROOT := $(CURDIR)/.cache

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo demo-down
demo: .venv/.controller lab-packages ## Two machines with real ZFS, and what the collection does on them
	python3 scripts/demo.py up

demo-down: ## Remove the demo's machines
	python3 scripts/demo.py down

.PHONY: test lint unit mutants sanity system molecule
test: ## Everything that must pass, and the time that each part took
	@scripts/parts lint unit mutants sanity system molecule

lint: .venv/.make .venv/.controller ## Style, types, documentation, licences, changelog, import into Galaxy
	nox -s lint ansible-lint docs-check license-check extra-checks changelog galaxy

unit: .venv/.make .venv/.unit ## Unit tests with coverage, and on the oldest Python; no machine needed
	pytest tests/unit --cov
	nox -s unit-oldest

mutants: .venv/.make .venv/.unit ## Unit tests once more for each important rule, turned around: they must fail
	python scripts/mutants.py

CORES := $(patsubst requirements/core-%.txt,%,$(wildcard requirements/core-*.txt))
sanity: .venv/.make ## ansible-test sanity on every supported ansible-core, two at a time
	@scripts/need shellcheck
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target $(CORES:%=sanity-%)

sanity-%: .venv/.make
	nox -s $@

system: .venv/.system lab-packages ## System tests, on machines with real ZFS
	$(LAB) run -- pytest tests/system $(addprefix --ignore tests/system/test_,replicate_cuts.py trust.py)

molecule: .venv/.system lab-packages ## Molecule scenarios, on machines with real ZFS
	cd extensions && python3 ../tests/lab/lab.py run -- molecule test --all

.PHONY: cuts trust
cuts: .venv/.system lab-packages ## A transfer cut 50 times at random points; takes long, so "test" leaves it out
	CERSS_CUTS=50 $(LAB) run -- pytest tests/system/test_replicate_cuts.py

trust: .venv/.system lab-packages ## The roles for trust between backends, not passing as a whole yet, so "test" leaves it out
	CERSS_GATE_LINES=10000 pytest tests/unit -k gate
	$(LAB) run -- pytest tests/system/test_trust.py

.PHONY: record
record: .venv/.system lab-packages ## Record anew what the unit tests replay, from real ZFS; ONLY="session ..." just some
	$(LAB) run -- python tests/system/record.py $(ONLY)

# Sender's and receiver's OpenZFS. Each version's image takes minutes the first time, so `test` leaves this out.
VERSIONS := 2.1-2.3 2.3-2.4
.PHONY: versions
versions: $(VERSIONS:%=versions-%) ## Replication between different versions of OpenZFS

versions-%: .venv/.system lab-packages
	$(LAB) run --dir .cache/lab-$* --zfs backend-a=$(firstword $(subst -, ,$*)) --zfs backend-b=$(lastword $(subst -, ,$*)) -- \
	  pytest tests/system/test_replicate.py tests/system/test_replicate_encrypted.py

.PHONY: lab-up lab-down lab-packages
lab-up: lab-packages ## Start the machines and leave them running
	$(LAB) up

lab-down: ## Stop them
	$(LAB) down

lab-packages:
	@$(LAB) doctor --install

.PHONY: docs build deps-update clean
docs: .venv/.docs ## The documentation as HTML, in build/docs
	rm -rf build/docs && mkdir -p build/docs
	antsibull-docs sphinx-init --use-current --squash-hierarchy --lenient --dest-dir build/docs cerss.zfs
	cd build/docs && ./build.sh

build: .venv/.controller ## The collection as Galaxy takes it, in build/
	ansible-galaxy collection build --force --output-path build

deps-update: .venv/.make ## The newest version of everything in requirements/
	requirements/update

clean: ## Remove what make made in this clone
	rm -rf .venv .nox .cache build

# uv is quicker, pip knows more about private mirrors.
.venv/.%: requirements/%.in requirements/constraints.txt | .venv/.make $(TREE)
	@echo "Installing what requirements/$*.in names"
	@uv pip install --quiet --requirements $< --constraints requirements/constraints.txt || \
	  pip install --quiet --requirement $< --constraint requirements/constraints.txt
	@touch $@

.venv/.make: requirements/make.in requirements/constraints.txt
	@PYTHON=$(PYTHON) scripts/need git python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed here: make PYTHON=python3.NN")'
	@$(PYTHON) -m venv .venv
	@pip install --quiet --disable-pip-version-check --requirement $< --constraint requirements/constraints.txt
	@touch $@

$(TREE):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
