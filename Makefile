# Every target sets up what it needs first; doing so twice costs nothing.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Inside an active conda environment everything goes there, else into .venv in this folder. conda's base is left alone.
ifneq ($(and $(CONDA_PREFIX),$(filter-out base,$(CONDA_DEFAULT_ENV))),)
PREFIX := $(CONDA_PREFIX)
else
PREFIX := .venv
endif
PYTHON := "$(PREFIX)/bin/python"
BIN := "$(PREFIX)/bin"
STAMP := .cache/installed-$(shell printf %s "$(abspath $(PREFIX))" | cksum | cut -d ' ' -f 1)

NAME ?= backbone_contest
PRESET ?= demo
ARGS ?=

.PHONY: help demo test lab study campaign speedrun methods transfer bench bench-readouts bench-together same-numbers gpu-check gpu-kit gpu-day results-tables claims coverage verify site clean setup check format lint strip

help: ## show this list
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{printf "%-17s %s\n", $$1, $$2}'
	@echo
	@echo "Variables, written behind the target (make study NAME=backbone_contest PRESET=cpu ARGS=\"-p seeds 3\"):"
	@echo "  NAME             study: a notebook of notebooks/, without .ipynb        [$(NAME)]"
	@echo "  PRESET           size: demo, quick, cpu, gpu or paper                   [$(PRESET)]"
	@echo "  ARGS             further parameters: -p name value, repeated at will; --timeout HOURS for one cell"
	@echo "  FRESH=1          start from an empty runs folder: nothing is taken from finished runs"
	@echo "  DATA_DIR         where datasets are read from                           [data/]"
	@echo "  CACHE_DIR        where packs and checkpoints go                         [.cache/]"

demo: setup ## run a study on embedded data (minutes, offline) and say where to read it [NAME=backbone_contest]
	$(PYTHON) -m helpers.commands.study $(NAME) --preset demo

test: setup check ## check format, lint and rooms, then run every test, a file on each of up to four cores
	$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lab: setup ## open JupyterLab in this folder
	$(PYTHON) -m jupyterlab

study: setup ## run one study: NAME=... PRESET=... [ARGS="-p seeds 3"] [FRESH=1]
	$(PYTHON) -m helpers.commands.study $(NAME) --preset $(PRESET) $(ARGS)

speedrun: setup ## race to a kNN accuracy: PRESET=cpu1, cpu, cpu15, cpu60 (1, 4, 15, 60 minutes of two cores), gpu (90 %)
	$(PYTHON) -m helpers.commands.study speedrun --preset $(PRESET) $(ARGS)

methods: setup ## train every method alike and write their page: PRESET=demo or cpu [ARGS="--only byol dino"], ARGS=--plan to list
	$(PYTHON) -m helpers.commands.methods --preset $(PRESET) $(ARGS)

transfer: setup ## read trained encoders out on another dataset: RUN="ID ..." TO=stl10 [ARGS="--size 32 --finetune 20"]
	$(PYTHON) -m helpers.commands.transfer $(RUN) $(if $(TO),--to "$(TO)") $(ARGS)

campaign: setup ## train a list of studies until a deadline: FILE=demo, cpu, gpu or LIST.toml [BUDGET=9m] [PLAN=1] [IMPORT=ZIP] [EXPORT=ZIP]
	$(PYTHON) -m helpers.commands.campaign $(if $(FILE),"$(FILE)") $(if $(BUDGET),--budget $(BUDGET)) $(if $(PLAN),--plan) \
	  $(if $(IMPORT),--import "$(IMPORT)") $(if $(EXPORT),--export "$(EXPORT)") $(ARGS)

bench: setup ## measure speed and memory beside the standard approach, into results/bench/
	$(PYTHON) -m helpers.commands.bench $(ARGS)

bench-readouts: setup ## linear probe and kNN beside scikit-learn, into results/bench/
	$(PYTHON) -m helpers.commands.bench readouts $(ARGS)

bench-together: setup ## several small runs at once beside one, into results/bench/
	$(PYTHON) -m helpers.commands.bench together $(ARGS)

same-numbers: setup ## does full speed learn what plain fp32 learns? trains both, into results/bench/
	$(PYTHON) -m helpers.commands.bench same-numbers $(ARGS)

gpu-check: setup ## run the tests that compare CUDA with the CPU; without a CUDA device it fails, having checked nothing
	@$(PYTHON) -c "import sys, torch; sys.exit(not torch.cuda.is_available())" || \
	  { echo "no CUDA device is visible: nothing was checked" >&2; exit 2; }
	$(PYTHON) -m pytest -m gpu -p helpers.gpu_day.check -rA -q

gpu-kit: setup ## pack into kit/ what a rented machine without network needs: code, wheels, images [ARGS="--datasets cifar10"]
	$(PYTHON) -m helpers.commands.gpu_kit $(ARGS)

gpu-day: setup ## a rented GPU for MINUTES=14: its tests, the speed table, the race, the studies' runs; rehearse it: DEVICE=cpu SIZE=toy
	$(PYTHON) -m helpers.commands.gpu_day --minutes $(or $(MINUTES),14) $(if $(DEVICE),--device $(DEVICE)) $(if $(SIZE),--size $(SIZE)) $(ARGS)

results-tables: setup ## write the README's tables and figures anew from the records
	$(PYTHON) -m helpers.commands.readme

claims: setup ## judge every claim anew from the records; write results/claims.md, results/claims.csv and the README's tables
	$(PYTHON) -m helpers.commands.claims

coverage: setup ## simulate how often intervals hold the truth and campaigns decide rightly, into results/judging/
	$(PYTHON) -m helpers.commands.coverage

verify: setup ## compute every table, figure and verdict anew from the records and fail on any difference (no data, no GPU)
	$(PYTHON) -m helpers.commands.verify

site: setup ## write the results as web pages, to be read without network: [TO=FOLDER], else .cache/site/
	$(PYTHON) -m helpers.commands.site $(if $(TO),--to "$(TO)") $(ARGS)

clean: ## delete the environment, caches and demo outputs; records and data stay
	rm -rf .venv .cache build *.egg-info .pytest_cache .ruff_cache .import_linter_cache results/trials results/*/demo results/*/demo-*
	rm -rf results/runs/embedded-*
	find helpers tests -name __pycache__ -type d -prune -exec rm -rf {} +

check: setup
	$(BIN)/ruff format --check .
	@$(MAKE) lint

format: setup
	$(BIN)/ruff format .

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports

strip: setup
	$(BIN)/nbstripout notebooks/*.ipynb

setup: $(STAMP)

# The stamp is younger than the two files exactly when they are installed. A missing environment makes it stale, see below.
$(STAMP): requirements.txt pyproject.toml
ifeq ($(PREFIX),.venv)
	@set -e; found=; \
	if [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null; then exit 0; fi; \
	for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "No Python 3.11 or later with the venv module was found. Install one (Debian, Ubuntu: apt install python3 python3-venv;" >&2; \
	  echo "macOS: brew install python; anywhere: conda env create -f environment.yml) and run make again." >&2; exit 1; \
	fi; \
	echo "Setting up: making a virtual environment in .venv with $$found ($$("$$found" --version))"; \
	rm -rf .venv; "$$found" -m venv .venv
else
	@echo "Setting up: installing into the active conda environment $(CONDA_DEFAULT_ENV)"
endif
	@echo "Setting up: installing the packages of requirements.txt (some gigabytes the first time, several minutes)"
	@$(PYTHON) -m pip install --disable-pip-version-check -r requirements.txt -e .
	@mkdir -p .cache && touch $(STAMP)
	@echo "Setting up: done"

ifeq ($(wildcard $(PREFIX)/bin/python),)
.PHONY: $(STAMP)
endif
