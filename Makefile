# make run and make test do everything from a clean checkout; they need cargo, python3 with pip, and make.

ORT_VERSION := 1.31.1
PYTHON ?= python3
VENV := .venv
PEERS_VENV := .venv-peers
SERVE_VENV := .venv-serve
RAY_VENV := .venv-ray
PEERS_PATH := PYTHONPATH=export:benches
MYPY := $(VENV)/bin/mypy --config-file export/pyproject.toml export benches/peers
# Python outside of the packages.
RUFF = $(VENV)/bin/ruff --config export/pyproject.toml
PEERS_TEST := $(PEERS_PATH) $(VENV)/bin/python -m pytest -q -c export/pyproject.toml --rootdir benches/peers
RUNTIME := .onnxruntime
BINARY := target/release/sllm-ort
PROMPT := Once upon a time, there was a little fox named Tim. Tim lived in a big forest with his mom. One day, Tim found a shiny red ball.

.DEFAULT_GOAL := help
.PHONY: help run test build install python python-test c c-install c-test c-header embedding kernel-test hostile fuzz fuzz-seeds soak runtime venv train-venv rust-test serve serve-test web-test export-test ray-test train-test gpu-pack gpu-test arm-test bench bench-peers bench-serve-peers peers-test paper-table scaling memory fmt lint doc clean

help: ## Show the goals
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: build ## Build, and tell a story with the shipped model
	@printf '%s' "$(PROMPT) "
	@$(BINARY) run "$(PROMPT)" --seed 1 --stats

build: runtime ## Build the release binary
	cargo build --release --locked

test: lint rust-test doc embedding export-test python-test c-test serve-test ## All checks and tests (fast)

lint: need-cargo ## Formatting and clippy
	cargo fmt --check
	cargo fmt --check --manifest-path bindings/python/Cargo.toml
	cargo fmt --all --check --manifest-path bindings/c/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings

rust-test: runtime ## Rust tests, doc tests included
	cargo test --locked

EMBEDDED := stream search threads chat

# Where the program looks for models and the runtime of its user.
ifeq ($(shell uname),Darwin)
DATA := $(HOME)/Library/Application Support/sllm-ort
else
DATA := $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/sllm-ort
endif

install: runtime ## Install the program with cargo, and the shipped model and ONNX Runtime for its user
	cargo install --locked --path . --force
	mkdir -p "$(DATA)/models" "$(DATA)/onnxruntime"
	rm -rf "$(DATA)"/models/sllm-stories
	cp -R models/sllm-stories "$(DATA)"/models/
	cp -L $(RUNTIME)/$(LIBRARY) "$(DATA)"/onnxruntime/

kernel-test: runtime ## The kernels of products under valgrind, which must be installed
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=1" cargo test --locked --lib runtime::kernels -- --skip graphs --skip matmul

embedding: runtime ## Build and run the examples from a crate of their own
	cargo build --locked --manifest-path tests/embedding/Cargo.toml --target-dir target
	@for program in $(EMBEDDED); do \
		printf 'Tom had a ball.\n/back\nTom had a dog.\n\n' | target/debug/$$program > target/$$program.txt || exit 1; \
		test -s target/$$program.txt || { echo "$$program says nothing" >&2; exit 1; }; \
	done

hostile: runtime ## 100,000 random changes of hostile files (a minute; HOSTILE_SEED=1 for others)
	SLLM_MUTATIONS=100000 SLLM_MUTATION_SEED=$(or $(HOSTILE_SEED),0) cargo test --release --locked --test mutations -- --nocapture

# FUZZ_TARGETS="session config" for some of them.
FUZZ_TARGETS ?= manifest config graph session eval_state segmentation sentences tokenizer detokenizer text_file
FUZZ_SECONDS ?= 60
# An input that takes longer than 5 s or more than 2 GiB of memory is a failure.
FUZZ_OPTIONS := -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 -print_funcs=0 -verbosity=0
# The project's own files that a target starts from, beside fuzz/seeds.
FUZZ_FILES_manifest := tests/hostile/manifest
FUZZ_FILES_config := configs
FUZZ_FILES_session := tests/hostile/session
FUZZ_FILES_segmentation := tests/hostile/text
FUZZ_FILES_sentences := tests/hostile/text
FUZZ_FILES_tokenizer := tests/hostile/tokenizer
FUZZ_FILES_text_file := tests/hostile/text
# Bytes of an input: few where a target tokenizes, which takes most of the time.
FUZZ_LENGTH_segmentation := 512
FUZZ_LENGTH_sentences := 32
FUZZ_LENGTH_detokenizer := 64
FUZZ_LENGTH_text_file := 64
CARGO_FUZZ_VERSION := 0.13.1
CARGO_FUZZ_ROOT := target/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)
CARGO_FUZZ = RUSTUP_TOOLCHAIN=nightly ORT_DYLIB_PATH=$(CURDIR)/$(RUNTIME)/$(LIBRARY) $(CARGO_FUZZ_ROOT)/bin/cargo-fuzz
# No address sanitizer: the parsers are safe Rust, and run much faster without it. With --release,
# fuzz/Cargo.toml says which crates keep their debug assertions.
FUZZ_BUILD := --release --sanitizer none --target-dir target/fuzz

fuzz: $(FUZZ_TARGETS:%=fuzz-%) ## Fuzz each parser for a minute (10 minutes after the build; FUZZ_SECONDS=600 changes it)

.PHONY: $(FUZZ_TARGETS:%=fuzz-%) fuzz-build
$(FUZZ_TARGETS:%=fuzz-%): fuzz-%: fuzz-build
	@mkdir -p fuzz/corpus/$* target/fuzz-seeds/$*
	@tar -xzf fuzz/seeds/$*.tar.gz -C target/fuzz-seeds/$*
	$(CARGO_FUZZ) run $(FUZZ_BUILD) $* fuzz/corpus/$* target/fuzz-seeds/$* $(FUZZ_FILES_$*) -- \
		$(FUZZ_OPTIONS) -max_len=$(or $(FUZZ_LENGTH_$*),4096) -max_total_time=$(FUZZ_SECONDS)

# Replace fuzz/seeds by the smallest set of inputs that reaches what fuzz/corpus reaches.
fuzz-seeds: $(FUZZ_TARGETS:%=fuzz-seeds-%)

.PHONY: $(FUZZ_TARGETS:%=fuzz-seeds-%)
$(FUZZ_TARGETS:%=fuzz-seeds-%): fuzz-seeds-%: fuzz-build
	@rm -rf target/fuzz-merged/$* && mkdir -p target/fuzz-merged/$* target/fuzz-seeds/$* fuzz/corpus/$*
	@tar -xzf fuzz/seeds/$*.tar.gz -C target/fuzz-seeds/$*
	$(CARGO_FUZZ) run $(FUZZ_BUILD) $* target/fuzz-merged/$* fuzz/corpus/$* target/fuzz-seeds/$* -- \
		$(FUZZ_OPTIONS) -max_len=$(or $(FUZZ_LENGTH_$*),4096) -set_cover_merge=1
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C target/fuzz-merged/$* -cf - . \
		| gzip -9n > fuzz/seeds/$*.tar.gz

fuzz-build: runtime
	@rustup run nightly rustc --version >/dev/null 2>&1 || { \
		echo "fuzzing needs a nightly Rust compiler: run \"rustup toolchain install nightly\"" >&2; exit 1; }
	@test -x $(CARGO_FUZZ_ROOT)/bin/cargo-fuzz || \
		cargo install --locked --root $(CARGO_FUZZ_ROOT) cargo-fuzz --version $(CARGO_FUZZ_VERSION)
	cargo fetch --locked --manifest-path fuzz/Cargo.toml
	$(CARGO_FUZZ) build $(FUZZ_BUILD)

SOAK_SECONDS ?= 600

soak: runtime ## Sessions made, saved, cancelled, dropped for ten minutes; memory must stay flat
	SOAK_SECONDS=$(SOAK_SECONDS) cargo run --release --locked --example soak

export-test: $(VENV)/ready ## Python tests of the exporter
	$(VENV)/bin/ruff check export benches/peers examples/ray
	$(VENV)/bin/ruff format --check export benches/peers examples/ray
	$(RUFF) check bindings/c tests/serve benches/serve
	$(RUFF) format --check bindings/c tests/serve benches/serve
	$(VENV)/bin/mypy --config-file export/pyproject.toml bindings/c benches/serve
	$(MYPY)
	cd export && ../$(VENV)/bin/python -m pytest -q
	$(PEERS_TEST) benches/peers/tests

serve: build ## Serve the shipped model at http://127.0.0.1:8080
	$(BINARY) serve --model models/sllm-stories

# The tests of tests/serve.rs are part of rust-test.
serve-test: runtime $(SERVE_VENV)/ready ## The server with OpenAI's Python client and Schemathesis
	cargo build --locked
	SLLM_ORT_BINARY=$(or $(CARGO_TARGET_DIR),target)/debug/sllm-ort $(SERVE_VENV)/bin/python -m pytest -q tests/serve

# The browser is the system's, as Debian's package chromium; CHROMIUM=/path/to/chromium for another.
# WEB_SCREENSHOTS=1 renews the screenshots of docs.
CHROMIUM ?= /usr/bin/chromium
WEB := tests/web

web-test: runtime $(WEB)/node_modules/.package-lock.json need-chromium ## The page of the server in a headless browser
	cargo build --locked
	CHROMIUM=$(CHROMIUM) SLLM_ORT_BINARY=$(or $(CARGO_TARGET_DIR),target)/debug/sllm-ort node --test --test-concurrency=3 $(wildcard $(WEB)/*.test.js) $(if $(WEB_SCREENSHOTS),$(WEB)/screenshots.js)

$(WEB)/node_modules/.package-lock.json: $(WEB)/package.json $(WEB)/package-lock.json | need-node
	cd $(WEB) && npm ci --silent
	touch $@

PYTHON_WHEELS := target/wheels
PYTHON_TEST := target/python-test
MATURIN := $(VENV)/bin/maturin build --quiet --locked --manifest-path bindings/python/Cargo.toml --target-dir target --interpreter $(VENV)/bin/python
# The package as its wheel has it, not what `make python` has installed.
WITH_PACKAGE := PYTHONPATH=$(PYTHON_TEST)/package

python: $(VENV)/ready-python need-cargo ## Build the wheel of the Python package, and install it into .venv
	rm -f $(PYTHON_WHEELS)/sllm_ort-*.whl
	$(MATURIN) --release --out $(PYTHON_WHEELS)
	$(VENV)/bin/python -m pip install --quiet --force-reinstall --no-deps $(PYTHON_WHEELS)/sllm_ort-*.whl

python-test: $(VENV)/ready-python runtime ## Tests of the Python package, of a debug build
	cargo clippy --locked --manifest-path bindings/python/Cargo.toml --target-dir target -- -D warnings
	cargo build --locked
	rm -rf $(PYTHON_TEST)
	$(MATURIN) --profile dev --out $(PYTHON_TEST)/wheels
	$(VENV)/bin/python -m zipfile -e $(PYTHON_TEST)/wheels/*.whl $(PYTHON_TEST)/package
	$(VENV)/bin/ruff check bindings/python
	$(VENV)/bin/ruff format --check bindings/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml $(addprefix bindings/python/,python examples tests)
	$(WITH_PACKAGE) $(VENV)/bin/stubtest --mypy-config-file bindings/python/pyproject.toml sllm_ort
	$(WITH_PACKAGE) $(VENV)/bin/python -m pytest -q -c bindings/python/pyproject.toml --rootdir bindings/python bindings/python/tests

C_CRATE := --locked --manifest-path bindings/c/Cargo.toml --target-dir target
C_VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' bindings/c/Cargo.toml)
# Minor versions of 0.x differ, as in bindings/c/build.rs.
C_SONAME := libsllm_ort.so.$(basename $(C_VERSION))
PREFIX ?= /usr/local

# Header, libraries and pkg-config file of a build (release or debug) into a folder.
define C_INSTALL
	install -d "$(2)/include" "$(2)/lib/pkgconfig"
	install -m 644 bindings/c/include/sllm_ort.h "$(2)/include/"
	install -m 644 target/$(1)/libsllm_ort.a "$(2)/lib/"
	if [ "$$(uname)" = Darwin ]; then \
		install -m 755 target/$(1)/libsllm_ort.dylib "$(2)/lib/"; \
	else \
		install -m 755 target/$(1)/libsllm_ort.so "$(2)/lib/libsllm_ort.so.$(C_VERSION)" && \
		ln -sf libsllm_ort.so.$(C_VERSION) "$(2)/lib/$(C_SONAME)" && \
		ln -sf $(C_SONAME) "$(2)/lib/libsllm_ort.so"; \
	fi
	sed 's/@VERSION@/$(C_VERSION)/' bindings/c/sllm-ort.pc.in > "$(2)/lib/pkgconfig/sllm-ort.pc"
endef

c: need-cargo ## Build the C library into target/c: header, libraries, pkg-config file
	cargo build --release $(C_CRATE)
	$(call C_INSTALL,release,target/c)

c-install: c ## Install the C library into PREFIX (/usr/local)
	$(call C_INSTALL,release,$(DESTDIR)$(PREFIX))

c-header: need-cargo
	cargo run --quiet $(C_CRATE) --package sllm-ort-c-header > target/sllm_ort.h
	cp target/sllm_ort.h bindings/c/include/sllm_ort.h

c-test: runtime need-cc ## Tests of the C library, of a debug build
	for package in sllm-ort-c sllm-ort-c-header; do \
		cargo clippy $(C_CRATE) --package $$package --all-targets -- -D warnings && \
		cargo test --quiet $(C_CRATE) --package $$package || exit 1; \
	done
	cargo build --locked
	cargo build $(C_CRATE)
	rm -rf target/c-test
	$(call C_INSTALL,debug,target/c-test/prefix)
	$(PYTHON) bindings/c/tests/run.py target/c-test/prefix

RAY_WHEELS := target/ray-test/wheels
RAY_FIGURES := target/ray-test/figures.json

# No telemetry of Ray.
ray-test: export RAY_USAGE_STATS_ENABLED := 0
ray-test: $(RAY_VENV)/ready need-cargo ## Tests of examples/ray on a cluster of two nodes, workers killed (a large download)
	rm -rf $(RAY_WHEELS) $(RAY_FIGURES)
	$(RAY_VENV)/bin/maturin build --quiet --locked --release --manifest-path bindings/python/Cargo.toml --target-dir target --interpreter $(RAY_VENV)/bin/python --out $(RAY_WHEELS)
	$(RAY_VENV)/bin/python -m pip install --quiet --force-reinstall --no-deps $(RAY_WHEELS)/*.whl
	$(RAY_VENV)/bin/ruff check examples/ray
	$(RAY_VENV)/bin/ruff format --check examples/ray
	$(RAY_VENV)/bin/mypy --config-file examples/ray/pyproject.toml examples/ray
	RAY_TEST_FIGURES=$(CURDIR)/$(RAY_FIGURES) $(RAY_VENV)/bin/python -m pytest -q -c examples/ray/pyproject.toml --rootdir examples/ray examples/ray/tests
	@cat $(RAY_FIGURES)

train-venv: $(VENV)/ready-train ## The Python environment with PyTorch (a large download)

train-test: $(VENV)/ready-train ## Python tests of the trainer, which need PyTorch
	$(MYPY)
	cd export && ../$(VENV)/bin/python -m pytest -q train_tests
	$(PEERS_TEST) benches/peers/torch_tests

# Twenty minutes on two cores. SCALING_OPTIONS="--svae-tokens 4000000" trains longer.
SCALING := .training/scaling
SCALING_OPTIONS ?=

scaling: $(VENV)/ready-train ## Train 9 SentenceVAEs and 3 SLLMs, and draw docs/scaling.svg (20 minutes; SCALING_TEXT, SCALING_VALID)
	@test -n "$(SCALING_TEXT)" -a -n "$(SCALING_VALID)" || { echo "name texts to train and to evaluate on: make scaling SCALING_TEXT=FILE SCALING_VALID=FILE" >&2; exit 1; }
	PYTHONPATH=export $(VENV)/bin/python export/scaling.py --text $(SCALING_TEXT) --valid $(SCALING_VALID) --out $(SCALING) --svg docs/scaling.svg $(SCALING_OPTIONS)

# What a machine with a GPU needs to run gpu/check.sh, which has Python 3.12 and no registry.
GPU_WHEEL := target/gpu-wheel
GPU_PACK := target/gpu-pack

gpu-pack: build $(GPU_WHEEL)/$(ORT_VERSION) need-zstd ## Pack all that gpu/check.sh needs on a machine with a GPU (a large download)
	$(PYTHON) gpu/pack.py --out $(GPU_PACK) --binary $(BINARY) --wheel $(GPU_WHEEL)/onnxruntime_gpu-$(ORT_VERSION)-*.whl

$(GPU_WHEEL)/$(ORT_VERSION): | need-python
	rm -rf $(GPU_WHEEL)
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		--platform manylinux_2_28_x86_64 --dest $(GPU_WHEEL) onnxruntime-gpu==$(ORT_VERSION)
	touch $@

gpu-test: runtime $(VENV)/ready need-zstd ## The check for a GPU, with the CPU provider, from an empty folder
	$(RUFF) check gpu
	$(RUFF) format --check gpu
	$(VENV)/bin/mypy --config-file export/pyproject.toml gpu
	cargo build --locked
	SLLM_ORT_BINARY=$(or $(CARGO_TARGET_DIR),target)/debug/sllm-ort $(VENV)/bin/python -m pytest -q -c export/pyproject.toml --rootdir gpu gpu/tests

ARM_TEST := target/arm-test

arm-test: need-cargo need-python ## Tests on 64-bit ARM, emulated (x86-64 with Debian 12, a large download)
	sh tests/arm/run.sh $(ARM_TEST) $(ORT_VERSION) $(PYTHON)

# The paper's systems with random weights, which are as fast as trained ones;
# PAPER_VARIANT=cpu-int4 for the other variant.
PAPER_SIZES ?= 125m
PAPER_VARIANT ?= cpu-int8
RANDOM_VARIANTS := --variant cpu-int8 --variant cpu-int4
PAPER_ROUNDS ?= 21

paper-table: build $(VENV)/ready ## Speed and memory of SLLMs beside OPT; PAPER_SIZES="125m 350m 1.3b"
	@for size in $(PAPER_SIZES); do \
		for name in sllm-$$size-h1 sllm-$$size-h2 sllm-$$size-h4 opt-$$size; do \
			$(MAKE) --no-print-directory models/random/$$name/sllm.json || exit 1; \
		done; \
		$(BINARY) bench --model models/random/sllm-$$size-h1 models/random/sllm-$$size-h2 models/random/sllm-$$size-h4 \
			--baseline models/random/opt-$$size --variant $(PAPER_VARIANT) --baseline-variant $(PAPER_VARIANT) --repetitions $(PAPER_ROUNDS) --svg target/paper-table-$$size.svg || exit 1; \
		echo "plot: target/paper-table-$$size.svg"; \
	done

# More than the rounds: PEERS_OPTIONS="--threads 1 --systems sllm-ort-sllm ctranslate2-opt".
PEERS_ROUNDS ?= 7
PEERS_OPTIONS ?=

bench-peers: build $(PEERS_VENV)/ready models/random/sllm-125m-h1/sllm.json models/random/opt-125m/sllm.json ## Speed beside CTranslate2, llama.cpp, Transformers and PyTorch (a large download)
	$(PEERS_PATH) $(PEERS_VENV)/bin/python -m peers --binary $(BINARY) --rounds $(PEERS_ROUNDS) $(PEERS_OPTIONS)

# llama.cpp is installed in no other environment.
peers-test: $(PEERS_VENV)/ready ## Python tests of the peers in llama.cpp (a large download)
	$(PEERS_PATH) $(PEERS_VENV)/bin/python -m pytest -q -c export/pyproject.toml --rootdir benches/peers benches/peers/llama_tests

GRAPH_SOURCES := $(wildcard export/sllm_export/graph/*.py) export/sllm_export/variants.py
RANDOM_TOKENIZER := tests/golden/tokenizer.json
define RANDOM_BUNDLE
PYTHONPATH=export $(VENV)/bin/python -m sllm_export bundle --config $< --random 0 \
	--tokenizer $(RANDOM_TOKENIZER) $(RANDOM_VARIANTS) --out $(@D) --force
endef

models/random/%/sllm.json: configs/%.json $(GRAPH_SOURCES) | $(VENV)/ready
	$(RANDOM_BUNDLE)

# A vocabulary of words, and sentences of 10 tokens, which random weights do not end.
SERVE_BUNDLE := models/random/sllm-125m-h1-serve
SERVE_ROUNDS ?= 3
SERVE_OPTIONS ?=

bench-serve-peers: build $(PEERS_VENV)/ready $(SERVE_BUNDLE)/sllm.json models/random/opt-125m/sllm.json ## Our server beside llama-cpp-python's, 1 and 8 clients (a large download)
	$(PEERS_PATH) $(PEERS_VENV)/bin/python -m serve.compare --binary $(BINARY) --sllm $(SERVE_BUNDLE) \
		--opt models/random/opt-125m --rounds $(SERVE_ROUNDS) $(SERVE_OPTIONS)

target/configs/sllm-125m-h1-serve.json: configs/sllm-125m-h1.json
	mkdir -p $(@D)
	sed -e 's/"sllm-125m-h1"/"sllm-125m-h1-serve"/' -e 's/"max_sentence_tokens": [0-9]*/"max_sentence_tokens": 11/' $< > $@

target/configs/sllm-125m-h1-serve-tokenizer.json: target/configs/sllm-125m-h1-serve.json benches/peers/byte_level.py | $(VENV)/ready
	$(PEERS_PATH) $(VENV)/bin/python -m peers.byte_level $< > $@

$(SERVE_BUNDLE)/sllm.json: RANDOM_TOKENIZER := target/configs/sllm-125m-h1-serve-tokenizer.json
$(SERVE_BUNDLE)/sllm.json: target/configs/sllm-125m-h1-serve.json target/configs/sllm-125m-h1-serve-tokenizer.json $(GRAPH_SOURCES) | $(VENV)/ready
	$(RANDOM_BUNDLE)

LONG := models/random/sllm-125m-h1-long
BENCH_BATCHES := 1 8 64

bench: build $(LONG)/sllm.json models/random/sllm-125m-h1/sllm.json ## Time the parts and whole continuations; writes docs/speed
	rm -rf target/criterion target/bench
	mkdir -p target/bench
	BENCH_MODELS=models/sllm-stories,$(LONG) cargo bench --locked --bench text --bench model
	@for model in models/sllm-stories models/random/sllm-125m-h1; do \
		for batch in $(BENCH_BATCHES); do \
			$(BINARY) bench --model $$model --batch $$batch --baseline $$model --format json \
				> target/bench/$$(basename $$model)-$$(printf %02d $$batch).json || exit 1; \
		done; \
	done
	ORT_VERSION=$(ORT_VERSION) cargo bench --locked --bench figures

# As many sentences as the backbone has positions.
target/configs/sllm-125m-h1-long.json: configs/sllm-125m-h1.json
	mkdir -p $(@D)
	sed -e 's/"sllm-125m-h1"/"sllm-125m-h1-long"/' -e 's/"max_sentences": [0-9]*/"max_sentences": 2048/' $< > $@

$(LONG)/sllm.json: target/configs/sllm-125m-h1-long.json $(GRAPH_SOURCES) | $(VENV)/ready
	$(RANDOM_BUNDLE)

memory: $(VENV)/ready ## Measure the exporter's memory at SLLM-1.3B-H2 (14 GB of disk; MEMORY_DIR=/tmp)
	PYTHONPATH=export $(VENV)/bin/python export/measure_memory.py --folder $(or $(MEMORY_DIR),/tmp)

doc: ## Library documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

fmt: $(VENV)/ready ## Format all sources
	cargo fmt
	cargo fmt --manifest-path bindings/python/Cargo.toml
	cargo fmt --all --manifest-path bindings/c/Cargo.toml
	$(RUFF) format bindings/c tests/serve benches/serve gpu
	$(RUFF) check --fix bindings/c tests/serve benches/serve gpu
	$(VENV)/bin/ruff format export benches/peers bindings/python examples/ray
	$(VENV)/bin/ruff check --fix export benches/peers bindings/python examples/ray

venv: $(VENV)/ready ## The Python environment of exporter and tests

clean: ## Remove all that was built
	cargo clean
	rm -rf $(VENV) $(PEERS_VENV) $(SERVE_VENV) $(RAY_VENV) $(RUNTIME) $(WEB)/node_modules

# ONNX Runtime comes as the pinned pip package, unpacked; nothing is installed. The programs find it
# beside themselves.
LIBRARY := libonnxruntime.$(if $(filter Darwin,$(shell uname -s)),dylib,so)
runtime: $(RUNTIME)/$(ORT_VERSION) ## Get ONNX Runtime
	@for folder in target/debug target/release; do \
		mkdir -p $$folder && ln -sf ../../$(RUNTIME)/$(LIBRARY) $$folder/$(LIBRARY) || exit 1; \
	done

$(RUNTIME)/$(ORT_VERSION): | need-cargo need-python
	rm -rf $(RUNTIME)
	mkdir -p $(RUNTIME)/wheel
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --dest $(RUNTIME)/wheel onnxruntime==$(ORT_VERSION)
	$(PYTHON) -m zipfile -e $(RUNTIME)/wheel/*.whl $(RUNTIME)/wheel
	$(PYTHON) export/place_runtime.py $(RUNTIME)/wheel/onnxruntime/capi $(RUNTIME)
	rm -rf $(RUNTIME)/wheel
	touch $@

$(VENV)/ready: export/requirements.txt | need-python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement export/requirements.txt
	touch $@

$(VENV)/ready-python: $(VENV)/ready bindings/python/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --requirement bindings/python/requirements.txt
	touch $@

$(VENV)/ready-train: $(VENV)/ready export/requirements-train.txt
	$(VENV)/bin/python -m pip install --quiet --requirement export/requirements-train.txt
	touch $@

# llama.cpp is compiled for this processor, without its libraries for images.
$(PEERS_VENV)/ready: benches/peers/requirements.txt | need-python need-cc
	$(PYTHON) -m venv $(PEERS_VENV)
	CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" $(PEERS_VENV)/bin/python -m pip install --quiet --requirement benches/peers/requirements.txt
	touch $@

$(RAY_VENV)/ready: examples/ray/requirements.txt | need-python
	$(PYTHON) -m venv $(RAY_VENV)
	$(RAY_VENV)/bin/python -m pip install --quiet --requirement examples/ray/requirements.txt
	touch $@

$(SERVE_VENV)/ready: tests/serve/requirements.txt | need-python
	$(PYTHON) -m venv $(SERVE_VENV)
	$(SERVE_VENV)/bin/python -m pip install --quiet --requirement tests/serve/requirements.txt
	touch $@

.PHONY: need-cargo need-cc need-python need-node need-chromium need-zstd
need-cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup" >&2; exit 1; }
need-cc:
	@command -v cc >/dev/null && command -v c++ >/dev/null || { echo "cc or c++ is missing: install gcc and g++" >&2; exit 1; }
need-python:
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "$(PYTHON) with pip is missing: install Python 3.11 or later with pip" >&2; exit 1; }

# Debian's packages, installed where this user may do so.
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo -n)
INSTALL = { command -v apt-get >/dev/null && { $(AS_ROOT) apt-get update -qq || true; \
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1); } >&2; }
need-zstd:
	@command -v zstd >/dev/null || $(call INSTALL,zstd) || true
	@command -v zstd >/dev/null || { echo "zstd is missing: install it" >&2; exit 1; }
need-node:
	@command -v npm >/dev/null || $(call INSTALL,nodejs npm) || true
	@node -e 'const [major, minor] = process.versions.node.split("."); process.exitCode = Number(major < 20 || (major == 20 && minor < 15))' \
		2>/dev/null && npm --version >/dev/null 2>&1 || { echo "Node.js 20.15 or later with npm is missing: install it (https://nodejs.org)" >&2; exit 1; }
need-chromium:
	@test -x "$(CHROMIUM)" || $(call INSTALL,chromium fonts-liberation) || true
	@test -x "$(CHROMIUM)" || { echo "$(CHROMIUM) is missing: install Chromium, or name it with CHROMIUM=/path/to/chromium" >&2; exit 1; }
