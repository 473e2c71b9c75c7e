# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target installs what it needs and lacks: Debian packages, a virtual environment in .venv, Python packages.
# pyproject.toml names the Python packages in dependency groups, requirements/*.txt pin every version.

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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

.PHONY: demo demo-down
demo: .venv/.controller lab-packages ## Two machines with real ZFS, and what the collection does on them
	python3 scripts/demo.py up

demo-down: ## Remove the demo's machines
	python3 scripts/demo.py down

# The commands of "Getting started"
STARTED := tests/system/test_readme.py::test_getting_started

.PHONY: test lint unit mutants release-check sanity system replication more trust molecule
test: .venv/.controller .venv/.docs .venv/.unit .venv/.system lab-packages ## Everything that must pass, in 45 to 60 minutes
	@scripts/parts system mutants replication molecule lint unit release-check sanity-ends

lint: .venv/.make .venv/.controller docs ## Style, types, workflows, documentation, licences, changelog, the package and its use
	nox -s lint style workflows ansible-lint docs-check license-check extra-checks changelog requirements galaxy install ee

unit: .venv/.make .venv/.unit ## Unit tests with coverage, and on the oldest Python; no machine needed
	pytest tests/unit --cov $(addprefix --ignore tests/unit/test_,distribute.py failover.py)
	nox -s unit-oldest

mutants: .venv/.make .venv/.unit ## Unit tests once more for each important rule, turned around: they must fail
	python scripts/mutants.py

release-check: .venv/.make ## Releases in a copy of this clone, dry and for real
	nox -s release

CORES := $(sort $(patsubst requirements/core-%.txt,%,$(wildcard requirements/core-*.txt)))
sanity: .venv/.make ## ansible-test sanity on every supported ansible-core, two at a time
	@scripts/need shellcheck
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target $(CORES:%=sanity-%)

.PHONY: sanity-ends
sanity-ends: .venv/.make ## ansible-test sanity on the oldest and the newest of them only, as "test" does
	@scripts/need shellcheck
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target sanity-$(firstword $(CORES)) sanity-$(lastword $(CORES))

sanity-%: .venv/.make
	nox -s $@

system: .venv/.system lab-packages ## System tests of all but replication, on machines with real ZFS
	$(LAB) run -- pytest --durations 0 --durations-min 20 tests/system --ignore-glob '*/test_replicate*' --ignore-glob '*/test_worlds_*' \
	  --deselect $(STARTED) $(addprefix --ignore tests/system/test_,agreement.py distribute.py examples.py failover.py hostile_source.py jobs.py lab.py lent.py progress.py races.py schedule.py silence.py stops.py trust.py zfs_dataset_info.py zfs_pool_info.py zfs_replication_info.py zfs_snapshot_info.py)

replication: .venv/.system lab-packages ## System tests of replication, on machines with real ZFS
	$(LAB) run --dir .cache/lab-replication -- pytest --durations 0 --durations-min 20 tests/system/test_replicate.py

MORE := progress replicate_encrypted replicate_playbook zfs_dataset_info zfs_pool_info zfs_replication_info zfs_snapshot_info
more: .venv/.system lab-packages ## More system tests: progress, encrypted datasets, the playbook, what there is; "test" leaves it out
	$(LAB) run --dir .cache/lab-more -- pytest $(MORE:%=tests/system/test_%.py)

trust: .venv/.system lab-packages ## Service users, their permissions, the gate, and what a stolen key cannot do; "test" leaves it out
	CERSS_GATE_LINES=10000 pytest tests/unit/plugins/module_utils/test_gate.py
	CERSS_ROLES_ROUNDS=1 pytest tests/unit/test_roles.py
	$(LAB) run --dir .cache/lab-trust -- pytest tests/system/test_trust.py

molecule: .venv/.system lab-packages ## The Molecule scenario of replication, on machines with real ZFS
	$(LAB) run --dir .cache/lab-molecule -- molecule test --scenario-name zfs_replicate

scenarios: .venv/.system lab-packages ## All Molecule scenarios, one for each role; "test" leaves it out
	$(LAB) run --dir .cache/lab-molecule -- molecule test --all

failover: .venv/.system lab-packages ## Replicas that take over, and the way back; "test" leaves it out
	pytest tests/unit/test_failover.py
	$(LAB) run --dir .cache/lab-failover -- pytest tests/system/test_failover.py

lent: .venv/.system lab-packages ## Access for one run, and what a thief of its key can do; "test" leaves it out
	$(LAB) run --dir .cache/lab-lent -- pytest tests/system/test_lent.py

jobs: .venv/.system lab-packages ## Jobs, several targets at once, and the commands of "Getting started"; "test" leaves it out
	$(LAB) run -- pytest tests/system/test_jobs.py tests/system/test_replicate_targets.py $(STARTED)

distribute: .venv/.system lab-packages ## Versions of an image on three hosts, with clones in use; "test" leaves it out
	pytest tests/unit/test_distribute.py
	$(LAB) run --dir .cache/lab-distribute --machines 3 -- pytest tests/system/test_distribute.py

REPLICATION := $(addprefix tests/system/test_replicate,.py _encrypted.py)
.PHONY: attacks failover jobs lent scenarios gated cuts reseeds races schedule worlds examples lab-check distribute
examples: .venv/.system lab-packages ## The examples of the module documentation, each run as it is; "test" leaves it out
	$(LAB) run -- pytest tests/system/test_examples.py

lab-check: .venv/.system lab-packages ## The lab itself: fresh pools, saved states, machines that die; "test" leaves it out
	$(LAB) run -- pytest tests/system/test_lab.py

attacks: .venv/.system lab-packages ## What root on the other backend may try, and marks that disagree; "test" leaves it out
	$(LAB) run -- pytest tests/system/test_agreement.py tests/system/test_hostile_source.py

gated: .venv/.system lab-packages ## The replication tests once more as a service user through the gates: half an hour, so "test" leaves it out
	$(LAB) run -- pytest --gate $(REPLICATION) tests/system/test_silence.py

cuts: .venv/.system lab-packages ## Transfers cut 50 times at random points; takes long, so "test" leaves it out
	CERSS_CUTS=50 $(LAB) run -- pytest tests/system/test_replicate_cuts.py

reseeds: .venv/.system lab-packages ## A reseed cut at each of its commands; takes long, so "test" leaves it out
	$(LAB) run -- pytest tests/system/test_replicate_reseed.py

races: .venv/.system lab-packages ## Two controllers and foreign pruners at once, and runs that have to end; takes long, so "test" leaves it out
	$(LAB) run --dir .cache/lab-races --machines 3 -- pytest tests/system/test_races.py tests/system/test_stops.py

schedule: .venv/.system lab-packages ## A host that replicates by a timer of its own; "test" leaves it out
	CERSS_ROLES_ROUNDS=1 pytest tests/unit/test_schedule.py
	$(LAB) run --dir .cache/lab-schedule -- pytest tests/system/test_schedule.py

# Last the one that shuts out root's logins
worlds: .venv/.system lab-packages ## Long histories, strange hosts, pools, keys and clocks; takes long, so "test" leaves it out
	$(LAB) run -- pytest $(addprefix tests/system/test_worlds_,keys.py names.py others.py sizes.py hosts.py)

.PHONY: controllers
controllers: .venv/.make lab-packages ## Transfers and their progress under every supported ansible-core
	$(LAB) run -- nox -s $(CORES:%=controller-%)

.PHONY: record
record: .venv/.system lab-packages ## Record anew what the unit tests replay, from real ZFS; ONLY="session ..." just some, ZFS=2.4 those of that version
	$(LAB) run $(if $(ZFS),--dir .cache/lab-$(ZFS) --zfs $(ZFS)) -- python tests/system/record.py $(ONLY)

# Sender's and receiver's OpenZFS. Each version's image takes minutes the first time, so `test` leaves this out.
VERSIONS := 2.1-2.3 2.3.2-2.3 2.3-2.4 2.4-2.3 2.3-2.1
.PHONY: versions
versions: $(VERSIONS:%=versions-%) ## Replication between different versions of OpenZFS, through the gates too

versions-%: .venv/.system lab-packages
	$(LAB) run --dir .cache/lab-$* --zfs backend-a=$(firstword $(subst -, ,$*)) --zfs backend-b=$(lastword $(subst -, ,$*)) -- \
	  bash -ec 'for way in "-m no_gate" --gate; do pytest $$way $(REPLICATION); done'

.PHONY: lab-up lab-down lab-packages
lab-up: lab-packages ## Start the machines and leave them running
	$(LAB) up

lab-down: ## Stop them
	$(LAB) down

lab-packages:
	@$(LAB) doctor --install

.PHONY: docs build release deps-update clean
docs: .venv/.docs ## The documentation as HTML, in build/docs/html
	rm -rf build/docs && mkdir -p -m 700 build/docs/rst
	antsibull-docs sphinx-init --use-current --project cerss.zfs --copyright "2026, cerss.zfs contributors" \
	  --title cerss.zfs --extra-conf "html_title=cerss.zfs: ZFS snapshots as first-class objects" --dest-dir build/docs cerss.zfs >/dev/null
	antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir build/docs/rst cerss.zfs
	cp docs/docsite/rst/*.svg build/docs/rst/docsite/
	cp docs/ansible.rst build/docs/rst/
	@# Without intersphinx, which needs the network. The changelog has no title before the first release.
	sphinx-build --quiet --fail-on-warning --keep-going -c build/docs -D extensions=sphinx_antsibull_ext \
	  -D suppress_warnings=toc.no_title build/docs/rst build/docs/html

build: .venv/.make ## The collection as Galaxy takes it, in build/
	nox -s build

release: .venv/.release ## Commit and tag a release here: VERSION=1.2.3, or the one in galaxy.yml; DRY_RUN=1 only shows it
	python3 scripts/release.py $(VERSION) $(if $(DRY_RUN),--dry-run)

deps-update: .venv/.make ## Pin the newest version of every package
	nox -s requirements -- --upgrade
	git --no-pager diff --stat -- requirements

clean: ## Remove what make made in this clone
	rm -rf .venv .nox .cache build

# uv is faster; pip may be configured for a private mirror that uv does not know.
.venv/.%: pyproject.toml requirements/constraints.txt | .venv/bin/uv $(TREE)
	@echo "Installing the dependency group $*"
	@uv pip install --quiet --group $* --constraints requirements/constraints.txt || \
	  pip install --quiet --group $* --constraint requirements/constraints.txt
	@touch $@

.venv/bin/uv:
	@PYTHON=$(PYTHON) scripts/need git python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed here: make PYTHON=python3.NN")'
	@$(PYTHON) -m venv .venv
	@pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt pip uv

$(TREE):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
