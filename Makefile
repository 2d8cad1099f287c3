# Two commands do everything: `make book` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
EXTRA := _build/extra
# Sets in one order: a rebuild gives the same bytes. This folder's own labs, wherever the environment was made.
export PYTHONHASHSEED := 0
export PYTHONPATH := $(CURDIR)/book/_ext:$(CURDIR)
# Images for containers often set this; then each of the suite's hundreds of Pythons would compile the book's modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Programs of the environment are started as modules: a script in it names the Python of the folder it was made in.
PY := $(BIN)/python -m
RUN := $(PY) bookext.run.command
# Style, types, and the arrows between the rooms (pyproject.toml names them).
LINT := $(PY) ruff check -q . && $(PY) mypy && $(BIN)/python -c 'import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())' --no-logo
SIDE_BY_SIDE := -n auto --maxprocesses 4
# Their code is that of the English notebooks: a chapter and a homework are run with each test, all in the rehearsal.
CHINESE_ALONE := $(foreach folder,book/zh book/zh/homework,$(firstword $(sort $(wildcard $(folder)/*.ipynb))))
PYTEST := OMP_NUM_THREADS=1 $(PY) pytest -q -rs

.DEFAULT_GOAL := help
.PHONY: help book check drift format test extra stress rehearse quick notebooks homework term address pins serve pdf offline epub bench clean

# An environment that does not start (its Python was removed, or is another machine's) is made anew.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell $(BIN)/python -S -c 'print(1)' 2>/dev/null),1)
$(info The Python of $(VENV) does not start; the environment is made anew.)
$(shell rm -f $(READY))
endif
endif

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.txt book/_ext/bookext/run/environment.py
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2> /dev/null || { echo 'There is no $(or $(PYTHON),Python) here, or a very old one; the book needs Python 3.11 or newer. Name another: make book PYTHON=python3.12' >&2; exit 1; }
	@"$(PYTHON)" book/_ext/bookext/run/environment.py

# Only where one of them is not there.
requirements.txt requirements.in bench/requirements.txt book/_ext/bookext/run/environment.py:
	@echo '$@ is missing: git checkout $@ brings it back.' >&2; exit 1

book: $(READY)  ## execute the chapters and build the site, strictly
	@$(RUN) bookext.run.build

test: book  ## everything that CI checks, on the book just built
	@$(RUN) bookext.check --run > _build/check.txt || { cat _build/check.txt; exit 1; }
	@tail -4 _build/check.txt
	@$(LINT)
	@$(PYTEST) $(SIDE_BY_SIDE) --dist loadgroup -m "not rehearsal"
	@rm -rf _build/alone && mkdir -p _build/alone/zh && cp $(filter-out book/zh/%,$(wildcard book/*.ipynb book/*/*.ipynb)) _build/alone
	@for notebook in $(CHINESE_ALONE); do cp $$notebook _build/alone/zh; done
	@cd _build/alone && OMP_NUM_THREADS=1 TQDM_DISABLE=1 ../../$(PY) pytest -q $(SIDE_BY_SIDE) --dist loadfile --nbval-lax -p no:cacheprovider -c /dev/null --rootdir=. .

stress: $(READY)  ## run what claims have no record of, with other seeds and conditions: make stress [CHAPTER=03]
	@$(RUN) bookext.run.stress $(CHAPTER)

$(EXTRA)/ready: $(READY) bench/requirements.txt
	@echo "Installing the libraries of bench/requirements.txt into $(EXTRA) (once)"
	@rm -rf $(EXTRA) && $(BIN)/python book/_ext/bookext/run/environment.py $(EXTRA)
	@touch $@

extra: $(EXTRA)/ready  ## other people's libraries, for rehearse and bench, in a folder of their own

rehearse: $(READY) extra  ## what takes long: the notebooks in Colab's versions, the public tree built by itself, every claim anew
	@$(PYTEST) -m rehearsal
	@$(RUN) bookext.run.stress --compare

check: $(READY)  ## one chapter without building: make check CHAPTER=03; writes its notebook
	@ls book/$(CHAPTER)-*.md 2> /dev/null | grep -c . | grep -qx 1 || { echo 'Name one chapter by the number its file begins with: make check CHAPTER=03' >&2; exit 1; }
	@$(RUN) bookext.check book/$(CHAPTER)-*.md
	@$(RUN) bookext.notebook.saved --check
	@$(RUN) bookext.notebook.generator book/$(CHAPTER)-*.md $(wildcard book/zh/$(CHAPTER)-*.md)

format: $(READY)  ## lay out the code, and the notebook pages as JupyterLab saves them
	@$(PY) ruff format -q . && $(PY) ruff check -q --fix .
	@$(RUN) bookext.notebook.saved $(wildcard instructor/hw*/hw*.md)

quick: $(READY)  ## the inner loop: what needs no built book, in a minute or two
	@$(LINT) & $(RUN) bookext.check; checked=$$?; wait $$! && exit $$checked
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not site and not slow and not rehearsal"

drift: $(READY)  ## carry code, numbers and formulas into the Chinese pages; list what their translators have to look at
	@$(RUN) bookext.check.twins --drift
	@$(RUN) bookext.notebook.generator

notebooks: $(READY)  ## write each chapter's .ipynb anew, English and Chinese
	@$(RUN) bookext.notebook.generator

homework: $(READY)  ## write the students' homework pages and their .ipynb from the masters, and their code into the Chinese (instructors)
	@test -d instructor || { echo 'The masters are not in this copy: the homework pages are as the instructor released them.' >&2; exit 1; }
	@$(RUN) instructor.release
	@$(RUN) bookext.check.twins --drift book/homework/*.md
	@$(RUN) bookext.notebook.generator

term: $(READY)  ## a new term's own numbers: make term SALT=2027-spring (instructors)
	@test -d instructor || { echo 'The masters are not in this copy: a term begins in the private one.' >&2; exit 1; }
	@$(RUN) instructor.term "$$SALT"
	@$(RUN) instructor.release
	@$(RUN) bookext.check.twins --drift book/homework/*.md
	@$(RUN) bookext.notebook.generator

address: $(READY)  ## for a fork: make address URL=https://github.com/you/name [TAG=v0.1.0] [SITE=…] [AUTHOR=…]
	@$(RUN) bookext.notebook.address $${TAG:+--tag="$$TAG"} $${SITE:+--site="$$SITE"} $${AUTHOR:+--author="$$AUTHOR"} -- "$$URL"

serve: book  ## show the site on http://127.0.0.1:8000 (PORT=… for another), and what is saved meanwhile
	@$(RUN) bookext.run.serve '$(PORT)'

pins: $(READY) requirements.in  ## renew the pins of requirements.txt, as far as nothing blocks (PyTorch stays)
	@$(RUN) bookext.run.pins

pdf: book  ## the book as one PDF, for A4 and for Letter, and in Chinese for A4, into _build/paper (needs Chromium)
	@$(RUN) bookext.pages.paper

epub: book  ## the book as an EPUB, in English and in Chinese, into _build/epub
	@$(RUN) bookext.pages.epub

offline: book  ## the site with slides, notebooks and the wheel as a zip that opens without a network, into _build/offline
	@$(RUN) bookext.pages.offline

bench: $(READY) extra  ## measure everything beside what one would use instead; writes bench/results.md
	@$(RUN) bench

clean:  ## remove what was built (the environment stays)
	@rm -rf _build
