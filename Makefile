# The commands of this repository. Each installs what it needs, caches it, and says what it is doing.
SHELL := /bin/bash
PY := .venv/bin/python
NAME ?= bascule
export NAME
# own (default), or kind where a Docker engine answers: `up` says what is missing for it.
export CLUSTER
# dev (default) or postgres: which Temporal a new cluster gets.
export TEMPORAL

.PHONY: help venv gen check test system bench demo up down clean
help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: .venv/.installed ## the Python environment, from pinned versions
.venv/.installed: pyproject.toml constraints.txt
	@hack/ensure-python.sh
	@touch $@

gen: venv ## write what is generated: CRDs, roles, reference
	$(PY) -m hack.gen_crds
	$(PY) -m hack.gen_rbac
	$(PY) -m hack.gen_docs
	$(PY) -m hack.gen_observability

check: venv ## ruff, mypy, import contracts, generated files current
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy -p hack
	.venv/bin/lint-imports
	$(PY) -m hack.gen_crds --check
	$(PY) -m hack.gen_rbac --check
	$(PY) -m hack.gen_docs --check
	$(PY) -m hack.gen_observability --check

test: check ## everything but the slow suites, one smoke case of each of those included
	$(PY) -m hack.testing

system: venv ## the slow suites on the real cluster; SLICE=i/n runs a part
	$(PY) -m hack.testing --system $(if $(SLICE),--slice $(SLICE))

bench: venv ## what Bascule costs, against raw floors on the same machine, into build/bench.json; SIZE=full for more
	$(PY) -m hack.bench $(if $(SIZE),--size $(SIZE))

demo: venv ## a story on a real cluster: STORY=first, life, campaign or drill; KEEP=1 leaves it running
	$(PY) -m hack.demo $(if $(STORY),--story $(STORY)) $(if $(KEEP),--keep)

up: venv ## make the cluster
	$(PY) -m hack.cluster up --name $(NAME)

down: venv ## remove everything that was made
	$(PY) -m hack.cluster down --name $(NAME)
