# Every path here is relative, so that the folder may have a space in its name.
BIN := .venv/bin
READY := .venv/.ready
PORT ?= 8000
export PYTHON

.PHONY: help book test study lint lock serve clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

$(READY): requirements.txt pyproject.toml code/bookbuild/make_venv.sh
	@sh code/bookbuild/make_venv.sh
	@touch $(READY)

book: $(READY) ## execute the chapters and write the site to _build/html
	@$(BIN)/python -m bookbuild

test: $(READY) ## run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

study: $(READY) ## run the simulation studies whose results are under data/ (hours)
	@$(BIN)/python -m funnel.calibration $(if $(SCHEDULER),--scheduler $(SCHEDULER))

lint: $(READY) ## check style, spelling, types and Markdown
	@PATH="$$PWD/$(BIN):$$PATH" pre-commit run --all-files

lock: $(READY) ## pin every version anew, as new as pyproject.toml allows
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--all-extras --no-header --upgrade pyproject.toml -o requirements.txt

serve: ## serve the built site on 127.0.0.1
	@test -f _build/html/index.html || { echo "There is no site yet: make book" >&2; exit 1; }
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

clean: ## remove the site, the caches and the environment
	rm -rf _build .venv
