# README.md and the guide, compiled, run and compared with the sources. Included by the top Makefile.
DOCS_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
DOCS_SUITE = $(WITH_SANDBOXD) python3 $(DOCS_DIR)/test_docs.py

# Its programs run beside sandboxd, as the end-to-end tests do.
E2E_SUITES += 'docs|$(DOCS_SUITE)'

.PHONY: test-docs
test-docs: sandbox.h sandboxd
	@$(DOCS_SUITE)
