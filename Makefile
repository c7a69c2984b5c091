# What one types while working on bedside. `sh run_tests.sh` makes the environment these use.
PYTHON ?= .venv/bin/python

.PHONY: style check test serve browser tables data flags

style:  ## format, and mend what can be mended
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

check:  ## lint, format, house rules, and that generated files are up to date
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) data/make_data.py --check
	$(PYTHON) -m bedside.flagsdoc --check
	$(PYTHON) -m pytest tests/test_house.py tests/test_args.py

test:  ## everything, offline, on the CPU
	sh run_tests.sh

serve:  ## the tests against a real vLLM server
	sh run_tests.sh --serve

browser:  ## the pages in a real Chromium
	sh run_tests.sh --browser

tables:  ## write the table of templates into their document again
	$(PYTHON) -m bedside.templates list --markdown docs/templates.md

data:  ## render data/ again from its table
	$(PYTHON) data/make_data.py

flags:  ## write docs/flags.md again
	$(PYTHON) -m bedside.flagsdoc
