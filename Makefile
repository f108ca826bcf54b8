# Every path here is relative, so that the folder may have a space in its name.
BIN := .venv/bin
READY := .venv/.ready
# The environment of `make benchmark`: the book's, and the peers that it is set beside.
PEERS := .venv-benchmarks
PORT ?= 8000
export PYTHON

.PHONY: help book pdf offline editions audit exhibits assignments grade test study benchmark lint lock binder-check binder-lock serve clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

$(READY): requirements.txt pyproject.toml code/bookbuild/make_venv.sh
	@sh code/bookbuild/make_venv.sh
	@touch $(READY)

book: $(READY) ## execute the chapters and write the site to _build/html
	@$(BIN)/python -m bookbuild

pdf: book ## print the book to _build/print, with and without solutions
	@$(BIN)/python -m bookbuild.pdf

offline: book ## zip the site for a classroom without network
	@$(BIN)/python -m bookbuild.offline

editions: $(READY) ## lay out the built site and the edition of each tag in _build/pages
	@$(BIN)/python -m bookbuild.editions

audit: $(READY) ## look up the locked versions among known vulnerabilities
	@$(BIN)/python -m bookbuild.audit

exhibits: $(READY) ## bundle the scripts of the exhibits anew, after a change to one
	@$(BIN)/python -m bookbuild.bundle

# The key comes from the environment, to which make passes on what its command line sets.
assignments: $(READY) ## make the problem sets of a class: CLASS_KEY=... or CLASS_KEY_FILE=...
	@$(BIN)/python -m grading.making

grade: $(READY) ## grade a class: SUBMISSIONS=folder OUT=folder [SET=name] [ROSTER=csv]
	@$(BIN)/python -m grading "$(SUBMISSIONS)" "$(OUT)" $(if $(SET),--set $(SET)) \
		$(if $(ROSTER),--roster "$(ROSTER)") $(GRADING_OPTIONS)

test: $(READY) ## run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

binder-check: $(READY) ## make what Binder would run, and try its pages in it
	@BINDER_IMAGE=1 $(BIN)/python -m pytest tests/test_binder.py

study: $(READY) ## run the simulation studies whose results are under data/ (hours)
	@$(BIN)/python -m funnel.calibration $(if $(SCHEDULER),--scheduler $(SCHEDULER))

$(PEERS)/.ready: $(READY) benchmarks/requirements.txt
	@$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(PEERS)
	@$(BIN)/python -m uv pip install --quiet --python $(PEERS)/bin/python --require-hashes \
		-r benchmarks/requirements.txt
	@touch $@

benchmark: $(PEERS)/.ready ## measure speed and memory anew, into data/benchmarks (about two hours)
	PYTHONPATH=code $(PEERS)/bin/python benchmarks/sampling.py --write
	$(BIN)/python benchmarks/growth.py --write
	$(BIN)/python benchmarks/start.py --write
	$(BIN)/python benchmarks/study.py --write
	$(BIN)/python benchmarks/build.py --write
	$(BIN)/python benchmarks/browser.py --write
	$(BIN)/python benchmarks/exhibits.py --write
	$(BIN)/python benchmarks/lighthouse.py --write
	$(BIN)/python benchmarks/classroom.py --write
	$(BIN)/python benchmarks/hub.py --write
	$(BIN)/python benchmarks/binder.py --write

lint: $(READY) ## check style, spelling, types and Markdown
	@PATH="$$PWD/$(BIN):$$PATH" pre-commit run --all-files

lock: $(READY) ## pin every version anew, as new as pyproject.toml allows
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--all-extras --no-header --upgrade pyproject.toml -o requirements.txt
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--group benchmarks --constraints requirements.txt --no-header --upgrade pyproject.toml \
		-o benchmarks/requirements.txt
	@$(MAKE) --no-print-directory binder-lock

# Binder: the part of the lock that a chapter needs. otter-grader's own requirements have a browser
# among them, which nobody prints with there: it is installed without them.
BINDER_LOCK := --python-version 3.13 --python-platform linux --generate-hashes --no-annotate \
	--no-header --constraints requirements.txt
binder-lock: $(READY)
	@$(BIN)/python -m uv pip compile --quiet $(BINDER_LOCK) --extra binder --group binder \
		--no-emit-package otter-grader --no-emit-package playwright --no-emit-package pyee \
		pyproject.toml -o .binder/requirements.txt
	@echo otter-grader | $(BIN)/python -m uv pip compile --quiet $(BINDER_LOCK) --no-deps - \
		-o .binder/without-dependencies.txt

serve: ## serve the built site on 127.0.0.1
	@test -f _build/html/index.html || { echo "There is no site yet: make book" >&2; exit 1; }
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

clean: ## remove the site, the caches and the environment
	rm -rf _build .venv .venv-benchmarks .venv-hub
