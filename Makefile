# Two commands do everything: `make book` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Sets in one order: a rebuild gives the same bytes.
RUN := PYTHONHASHSEED=0 PYTHONPATH=book/_ext $(BIN)/python
READY := $(VENV)/ready
EXTRA := _build/extra
# Style, types, and the arrows between the rooms (pyproject.toml names them).
LINT := $(BIN)/ruff check -q . && $(BIN)/mypy && PYTHONPATH=book/_ext $(BIN)/lint-imports --no-logo
SIDE_BY_SIDE := -n auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help book check format test extra stress rehearse quick notebooks homework address serve pdf offline epub clean

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
	@$(RUN) -m bookext.run.build

test: book  ## everything that CI checks, on the book just built
	@$(RUN) -m bookext.check --run > _build/check.txt || { cat _build/check.txt; exit 1; }
	@tail -4 _build/check.txt
	@$(LINT)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q $(SIDE_BY_SIDE) --dist loadgroup -m "not rehearsal"
	@rm -rf _build/alone && mkdir -p _build/alone && cp book/*.ipynb book/*/*.ipynb _build/alone
	@cd _build/alone && OMP_NUM_THREADS=1 TQDM_DISABLE=1 ../../$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) --dist loadfile --nbval-lax -p no:cacheprovider -c /dev/null --rootdir=. .

stress: $(READY)  ## run what claims have no record of, with other seeds and conditions: make stress [CHAPTER=03]
	@$(RUN) -m bookext.run.stress $(CHAPTER)

$(EXTRA)/ready: $(READY) bench/requirements.txt
	@echo "Installing the libraries of bench/requirements.txt into $(EXTRA) (once)"
	@rm -rf $(EXTRA) && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(EXTRA) -r bench/requirements.txt
	@touch $@

extra: $(EXTRA)/ready  ## other people's libraries, for rehearse and bench, in a folder of their own

rehearse: $(READY) extra  ## what takes long: the notebooks in Colab's versions, the public tree built by itself, every claim anew
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -m rehearsal
	@$(RUN) -m bookext.run.stress --compare

check: $(READY)  ## one chapter without building: make check CHAPTER=03; writes its notebook
	@test -f book/$(CHAPTER)-*.md || { echo 'Name one chapter by the number its file begins with: make check CHAPTER=03'; exit 1; }
	@$(RUN) -m bookext.check book/$(CHAPTER)-*.md
	@$(RUN) -m bookext.notebook.saved --check
	@$(RUN) -m bookext.notebook.generator book/$(CHAPTER)-*.md

format: $(READY)  ## lay out the code, and the notebook pages as JupyterLab saves them
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .
	@$(RUN) -m bookext.notebook.saved $(wildcard instructor/hw*/hw*.md)

quick: $(READY)  ## the inner loop: what needs no built book, in a minute or two
	@$(RUN) -m bookext.check
	@$(LINT)
	@$(RUN) -m bookext.notebook.generator --check
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q $(SIDE_BY_SIDE) -m "not site and not slow and not rehearsal"

notebooks: $(READY)  ## write each chapter's .ipynb anew
	@$(RUN) -m bookext.notebook.generator

homework: $(READY)  ## write the students' homework pages and their .ipynb from the masters (instructors)
	@test -d instructor || { echo 'The masters are not in this copy: the homework pages are as the instructor released them.'; exit 1; }
	@$(RUN) -m instructor.release
	@$(RUN) -m bookext.notebook.generator

address: $(READY)  ## for a fork: make address URL=https://github.com/you/name [TAG=v0.1.0]
	@$(RUN) -m bookext.notebook.address '$(URL)' $(if $(TAG),--tag '$(TAG)') $(if $(SITE),--site '$(SITE)')

serve: book  ## show the site on http://127.0.0.1:8000 (PORT=… for another)
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

pdf: book  ## the book as one PDF, for A4 and for Letter, into _build/paper (needs Chromium)
	@$(RUN) -m bookext.pages.paper

epub: book  ## the book as an EPUB, into _build/epub
	@$(RUN) -m bookext.pages.epub

offline: book  ## the site with slides, notebooks and the wheel as a zip that opens without a network, into _build/offline
	@$(RUN) -m bookext.pages.offline

bench: $(READY) extra  ## measure everything beside what one would use instead; writes bench/results.md
	@$(RUN) -m bench

clean:  ## remove what was built (the environment stays)
	@rm -rf _build
