# Two commands do everything: `make book` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Sets in one order: a rebuild gives the same bytes.
RUN := PYTHONHASHSEED=0 PYTHONPATH=book/_ext $(BIN)/python
READY := $(VENV)/ready
SIDE_BY_SIDE := -n auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help book format test rehearse quick notebooks homework address serve clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"The book needs Python 3.11 or newer, and $(PYTHON) is {v.major}.{v.minor}. Name another: make book PYTHON=python3.12")'
	@echo "Installing the packages of requirements.txt into $(VENV) (once; some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

book: $(READY)  ## execute the chapters and build the site, strictly
	@$(RUN) -m bookext.build

test: book  ## everything that CI checks, on the book just built
	@$(RUN) -m bookext.ledger
	@$(RUN) -m bookext.ties > _build/ties.txt || { cat _build/ties.txt; exit 1; }
	@tail -2 _build/ties.txt
	@$(RUN) -m bookext.mutate > _build/mutate.txt || { cat _build/mutate.txt; exit 1; }
	@tail -2 _build/mutate.txt
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q $(SIDE_BY_SIDE) --dist loadgroup -m "not rehearsal"
	@rm -rf _build/alone && mkdir -p _build/alone && cp book/*.ipynb book/*/*.ipynb _build/alone
	@cd _build/alone && OMP_NUM_THREADS=1 TQDM_DISABLE=1 ../../$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) --dist loadfile --nbval-lax -p no:cacheprovider -c /dev/null --rootdir=. .

rehearse: $(READY)  ## what takes long: the notebooks in Colab's versions, the public tree built by itself
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -m rehearsal

format: $(READY)  ## lay out the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

quick: $(READY)  ## the inner loop: what needs no built book, in under a minute
	@$(RUN) -m bookext.ledger
	@$(BIN)/ruff check .
	@$(RUN) -m bookext.notebooks --check
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q $(SIDE_BY_SIDE) -m "not site and not slow and not rehearsal"

notebooks: $(READY)  ## write each chapter's .ipynb anew
	@$(RUN) -m bookext.notebooks

homework: $(READY)  ## write the students' homework pages and their .ipynb from the masters (instructors)
	@test -d instructor || { echo 'The masters are not in this copy: the homework pages are as the instructor released them.'; exit 1; }
	@$(RUN) -m instructor.release
	@$(RUN) -m bookext.notebooks

address: $(READY)  ## for a fork: make address URL=https://github.com/you/name [TAG=v0.1.0]
	@$(RUN) -m bookext.address '$(URL)' $(if $(TAG),--tag '$(TAG)') $(if $(SITE),--site '$(SITE)')

serve: book  ## show the site on http://127.0.0.1:8000 (PORT=… for another)
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

bench: $(READY)  ## measure everything beside what one would use instead; writes bench/results.md
	@$(RUN) -m bench

clean:  ## remove what was built (the environment stays)
	@rm -rf _build
