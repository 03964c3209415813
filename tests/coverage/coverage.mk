# Every call of the header against sandboxd in each generation of its API.
# Included by the top Makefile.
COVERAGE = $(BUILD)/coverage/calls
E2E_SUITES += 'coverage@300|python3 tests/coverage/coverage.py $(COVERAGE)'

$(COVERAGE): tests/coverage/calls.c sandbox.h transports/sandbox_posix.h
	$(call say,CC,$@)mkdir -p $(@D) && $(GCC) -std=gnu11 -Wall -Wextra $(SAN) -I. -Itransports -o $@ $< -pthread

.PHONY: coverage
coverage: $(COVERAGE) sandboxd
	@python3 tests/coverage/coverage.py $(COVERAGE)
test-e2e build-tests: $(COVERAGE)
