# make help lists the targets.  PYTHON chooses the interpreter of test and live.
PYTHON ?= python3
CLANG ?= clang-16
LAB_DIR = $(or $(LBC_LAB_DIR),$(HOME)/.cache/lbc-lab)

.DEFAULT_GOAL := help
.PHONY: help setup test live vm bpf uapi fixtures wheel bench check clean

help:                ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

check: setup         ## install what the tests need, then run all of them: every Python, this kernel, the four lab kernels
	python3 scripts/check.py

setup:               ## install what the tests need (Debian packages, pytest for every Python); quick when all is there
	sh scripts/setup.sh

test:                ## the tests that need neither root nor a kernel, with $(PYTHON)
	$(PYTHON) -m pytest -q -m "not live and not lab" tests

live:                ## the tests on this machine's own kernel, with $(PYTHON) (root)
	$(PYTHON) -m pytest -q -m live tests

vm:                  ## the live tests on 5.10, 6.1, 6.12 and 7.x in virtual machines, with Python 3.11 and 2.7
	python3 tests/lab/matrix.py

bpf:                 ## compile the tools' BPF programs into the checkout (needs clang)
	CLANG=$(CLANG) python3 scripts/build_bpf.py

uapi:                ## generate lbc/uapi from the newest packaged kernel headers
	python3 tests/lab/cache.py headers
	python3 scripts/gen_uapi.py $(LAB_DIR)/hdr-trixie-backports/usr/include

fixtures:            ## compile the test fixtures again (needs clang)
	bash scripts/gen_fixtures.sh

wheel:               ## build dist/lbc-*.whl and the sdist
	$(PYTHON) setup.py -q sdist bdist_wheel
	@ls -l dist

bench:               ## start-up time and memory against bcc and libbpf-tools (root)
	$(PYTHON) bench/start.py

clean:               ## remove what building and testing made
	rm -rf build dist lbc.egg-info .pytest_cache .tox tests/actual
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.pyc' -delete
