# `make help` says what can be made. GNU make; everything made lies in $(BUILD).
BUILD = build
ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(origin CXX),default)
CXX = g++
endif
GCC = gcc
CLANG = clang
ARM = arm-none-eabi-
JOBS := $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS = 20
FUZZ_LONG_SECONDS = 600
export PYTHONDONTWRITEBYTECODE = 1
export BUILD GCC CLANG ARM JOBS CC CXX

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL = all
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: all help deps deps-demo demo demo-tls clean check-amalgam bench valgrind fuzz count count-check size \
    test test-unit test-vectors test-transport test-sim test-fault test-e2e test-tls test-official test-matrix \
    test-build check-symbols fuzz-smoke build-tests

# Debian packages: what the demo needs, and what the rest needs besides.
DEMO_DEPS = gcc libc6-dev make python3 libmicrohttpd-dev libwslay-dev libjansson-dev bubblewrap
DEPS = g++ clang libclang-rt-dev libcmocka-dev libbearssl-dev musl-tools valgrind haproxy python3-cryptography libssl-dev gcc-arm-none-eabi libnewlib-arm-none-eabi libcurl4-openssl-dev libuv1-dev socat redis-server redis-tools

WARN = -Wall -Wextra -pedantic -Werror
SAN = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g
WITH_SANDBOXD = python3 tests/build/with_sandboxd.py
RUN = python3 tests/build/run.py --jobs $(JOBS) --logs $(BUILD)/logs

ifneq ($(V),1)
say = @printf '  %-6s %s\n' '$(1)' '$(subst $(BUILD)/,,$(2))';
endif

all: sandbox.h examples sandboxd

help:
	@echo 'make all            sandbox.h, the examples, sandboxd'
	@echo 'make deps           installs the Debian packages that are missing'
	@echo 'make demo           a sandbox from nothing: starts sandboxd, runs examples/quickstart.c'
	@echo 'make demo-tls       the same over https, by libcurl and by BearSSL'
	@echo 'make sandbox.h      the single header, from src/ (amalgamate.py)'
	@echo 'make test           every suite and check; closes with "N passed, N failed"'
	@echo 'make test-X         unit vectors transport sim fault e2e docs proxy tls interop official matrix build'
	@echo 'make check-amalgam  sandbox.h is what src/ makes'
	@echo 'make check-symbols  global names, writable data, calls of the freestanding build'
	@echo 'make fuzz-smoke     every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS); make fuzz: FUZZ_LONG_SECONDS=$(FUZZ_LONG_SECONDS)'
	@echo 'make count          instruction counts against their targets; make count-check fails above one'
	@echo 'make size           code size, deepest stack and client memory, x86-64 and Cortex-M4; a static https program'
	@echo 'make valgrind       the examples under valgrind, as make test runs them'
	@echo 'make coverage       every call against sandboxd, by generation of the API'
	@echo 'make bench clean'
	@echo 'BUILD=$(BUILD) CC=$(CC) CXX=$(CXX) JOBS=$(JOBS) V=1'

# ------------------------------------------------------------------ the header

SOURCES := $(wildcard src/*.h src/*.c)
TRANSPORTS := $(wildcard transports/*.h)

sandbox.h: amalgamate.py $(SOURCES)
	$(call say,MAKE,$@)python3 amalgamate.py

check-amalgam:
	@python3 amalgamate.py --check && echo 'sandbox.h is what src/ makes'

# -------------------------------------------------------------------- examples

EXAMPLES := $(patsubst examples/%.c,$(BUILD)/%,$(wildcard examples/*.c)) $(patsubst examples/%.cpp,$(BUILD)/%,$(wildcard examples/*.cpp))
EXAMPLE_USES = sandbox.h $(TRANSPORTS)
LIBS_event_loop_uv = -luv
TLS_EXAMPLES = $(BUILD)/quickstart_curl $(BUILD)/quickstart_bearssl
.PHONY: examples sandboxd
examples: $(EXAMPLES)

# As a user would: the header, a transport, and nothing else.
$(BUILD)/%: examples/%.c $(EXAMPLE_USES) | $(BUILD)/
	$(call say,CC,$@)$(CC) -std=c99 -O2 -Wall -Wextra -I. -Itransports -o $@ $< $(LIBS_$*) -pthread
$(BUILD)/quickstart_%: examples/quickstart.c $(EXAMPLE_USES) | $(BUILD)/
	$(call say,CC,$@)$(CC) -std=c99 -O2 -Wall -Wextra -I. -Itransports -DQUICKSTART_$(shell echo $* | tr a-z A-Z) -o $@ $< -l$* -pthread
$(BUILD)/asan/%: examples/%.c $(EXAMPLE_USES)
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) -std=c99 -Wall -Wextra $(SAN) -I. -Itransports -o $@ $< $(LIBS_$*) -pthread
$(BUILD)/%: examples/%.cpp $(EXAMPLE_USES) | $(BUILD)/
	$(call say,CXX,$@)$(CXX) -std=c++11 -O2 -Wall -Wextra -I. -Itransports -o $@ $< -pthread

sandboxd: $(if $(wildcard examples/sandboxd/sandboxd.mk),$(BUILD)/sandboxd)

# ----------------------------------------------------------------------- tests

# A compiler and a value of SBX_SMALL; the first letters of an object's path.
VARIANTS = gcc-0 gcc-1 clang-0 clang-1
PAIR = gcc-0 clang-1
compiler_gcc = $(GCC)
compiler_clang = $(CLANG)
compiler_of = $(compiler_$(firstword $(subst -, ,$(1))))
small_of = $(lastword $(subst -, ,$(1)))

# Unit tests name the parts they need in their first line: /* parts: text json */
UNITS := $(basename $(notdir $(wildcard tests/unit/test_*.c)))
FUZZERS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_*.c)))
COUNTERS := $(basename $(notdir $(wildcard tests/count/count_*.c tests/count/peer_*.c)))
part_sources = $(sort $(foreach part,$(1),$(wildcard src/$(part).c src/$(part)_*.c)))
parts_named = $(call part_sources,$(shell sed -n '1,5s@.*/\* *parts: *\([^*]*\)\*/.*@\1@p' $(1)))

# Other suites include sandbox.h; what else lies in their directory is linked to
# each, with what LIBS_SUITE and LIBS_test_X name in a suite's .mk.
SUITES = transport sim fault e2e proxy tls interop
helpers_of = $(filter-out tests/$(1)/test_%,$(wildcard tests/$(1)/*.c))
programs_of = $(basename $(notdir $(wildcard tests/$(1)/test_*.c)))

define variant_rules
$(BUILD)/$(1)/src/%.o: src/%.c
	$$(call say,CC,$$@)mkdir -p $$(@D) && $$(call compiler_of,$(1)) -std=c99 $$(WARN) $$(SAN) -DSBXI_SPLIT=1 -DSBX_SMALL=$$(call small_of,$(1)) -Isrc -MMD -MP -c -o $$@ $$<
$(BUILD)/$(1)/tests/unit/%.o: tests/unit/%.c
	$$(call say,CC,$$@)mkdir -p $$(@D) && $$(call compiler_of,$(1)) -std=gnu11 -Wall -Wextra $$(SAN) -DSBXI_SPLIT=1 -DSBX_SMALL=$$(call small_of,$(1)) -Isrc -MMD -MP -c -o $$@ $$<
$(BUILD)/$(1)/tests/%.o: tests/%.c | sandbox.h
	$$(call say,CC,$$@)mkdir -p $$(@D) && $$(call compiler_of,$(1)) -std=gnu11 -Wall -Wextra $$(SAN) -DSBX_SMALL=$$(call small_of,$(1)) -I. -Itransports -MMD -MP -c -o $$@ $$<
endef
define link_rule
TESTS_$(1) += $(2)
$(2): $(3)
	$$(call say,LINK,$$@)mkdir -p $$(@D) && $$(call compiler_of,$(4)) $$(SAN) -o $$@ $$^ -lcmocka $$(LIBS_$(1)) $$(LIBS_$$(@F)) -pthread
endef

$(foreach v,$(VARIANTS),$(eval $(call variant_rules,$(v))))
$(foreach u,$(UNITS),$(eval parts_$(u) := $(call parts_named,tests/unit/$(u).c)))
$(foreach v,$(VARIANTS),$(foreach u,$(UNITS),$(eval $(call link_rule,unit,$(BUILD)/$(v)/unit/$(u),$(patsubst %.c,$(BUILD)/$(v)/%.o,tests/unit/$(u).c $(parts_$(u))),$(v)))))
$(foreach v,$(PAIR),$(foreach s,$(SUITES),$(foreach p,$(call programs_of,$(s)),$(eval $(call link_rule,$(s),$(BUILD)/$(v)/$(s)/$(p),$(patsubst %.c,$(BUILD)/$(v)/%.o,tests/$(s)/$(p).c $(call helpers_of,$(s))),$(v))))))
# An object of a test is kept: it is the next build's start.
.SECONDARY:

# A suite's name as the runner shows it: build/gcc-0/unit/test_json -> unit/test_json gcc-0
suite_name = $(subst $(BUILD)/,,$(notdir $(patsubst %/,%,$(dir $(1)))))/$(notdir $(1)) $(firstword $(subst /, ,$(patsubst $(BUILD)/%,%,$(1))))
suites = $(foreach t,$(TESTS_$(1)),'$(call suite_name,$(t))|$(2) $(t)')

FUZZ_BINARIES = $(FUZZERS:%=$(BUILD)/fuzz/%)
$(foreach f,$(FUZZERS),$(eval parts_$(f) := $(call parts_named,tests/fuzz/$(f).c)))
FUZZ_FLAGS = -std=gnu11 -Wall -Wextra -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
define fuzz_rule
$(BUILD)/fuzz/$(1): tests/fuzz/$(1).c $(parts_$(1)) $(SOURCES) $(wildcard tests/fuzz/*.h tests/sim/impl.c tests/sim/peer.h) $(if $(filter fuzz_context,$(1)),transports/sandbox_context.h) | sandbox.h
	$$(call say,FUZZ,$$@)mkdir -p $$(@D) && $$(CLANG) $$(FUZZ_FLAGS) $(if $(parts_$(1)),-DSBXI_SPLIT=1) -Isrc -I. -Itransports -o $$@ $$< $(parts_$(1))
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))
# The smoke run takes the same way each time, the long one another. Inputs found
# are kept in build/fuzz/X.corpus; tests/fuzz/corpus/X, if there, is where it starts.
fuzz_suites = $(foreach f,$(FUZZERS),'fuzz/$(f)@$(shell expr $(1) + 120)|mkdir -p $(BUILD)/fuzz/$(f).corpus && $(BUILD)/fuzz/$(f) $(2) -max_total_time=$(1) -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/$(f)- $(BUILD)/fuzz/$(f).corpus $(wildcard tests/fuzz/corpus/$(f:fuzz_%=%))')

# Counted as it is shipped: no sanitizer, gcc -O2, the fast variant.
COUNT_BINARIES = $(COUNTERS:%=$(BUILD)/count/%)
define count_rule
$(BUILD)/count/$(1): tests/count/$(1).c $(parts_$(1)) $(SOURCES) $(wildcard tests/count/*.[ch]) | sandbox.h
	$$(call say,CC,$$@)mkdir -p $$(@D) && $$(GCC) -std=gnu11 -O2 -g -Wall -Wextra -DSBX_SMALL=0 $(if $(parts_$(1)),-DSBXI_SPLIT=1) -Isrc -I. -Itransports -o $$@ $$< $(parts_$(1)) $(if $(filter peer_%,$(1)),-ljansson -lwslay) -pthread
endef
$(foreach c,$(COUNTERS),$(eval parts_$(c) := $(call parts_named,tests/count/$(c).c)))
$(foreach c,$(COUNTERS),$(eval $(call count_rule,$(c))))

MATRIX = 'matrix gcc@900|python3 tests/build/matrix.py gcc' 'matrix clang@900|python3 tests/build/matrix.py clang' 'matrix arm@900|python3 tests/build/matrix.py arm'
SYMBOLS = 'symbols gcc@900|python3 tests/build/symbols.py gcc' 'symbols clang@900|python3 tests/build/symbols.py clang'
BUILD_SUITES = $(foreach t,$(wildcard tests/build/test_*.py),'build/$(basename $(notdir $(t)))|python3 $(t)')
E2E_SUITES = $(call suites,e2e,$(WITH_SANDBOXD))
REPORTS = 'count|python3 tests/count/run.py' 'size|python3 tests/size/size.py'
VALGRIND_SUITES = $(foreach e,$(EXAMPLES),'valgrind $(notdir $(e))@120|$(WITH_SANDBOXD) valgrind --quiet --leak-check=full --show-leak-kinds=all --track-fds=yes --error-exitcode=99 $(e)')
# tests/official/official.mk makes test-official; it needs a Node newer than Debian's.
OFFICIAL_SUITES = 'official@600|$(SUBMAKE) --no-print-directory test-official'
SUBMAKE = $(MAKE)
BUILT = $(foreach s,unit $(SUITES),$(TESTS_$(s)))

MORE := $(wildcard examples/*/*.mk tests/*/*.mk bench/*.mk)
-include $(MORE)

test-unit: $(TESTS_unit)
	@$(RUN) $(call suites,unit)
# The codecs' vectors are the unit tests of the codecs.
CODECS = text json http1 ws sse yamux
CODEC_TESTS = $(filter $(foreach c,$(CODECS),$(addprefix %/,$(basename $(notdir $(wildcard tests/unit/test_$(c).c tests/unit/test_$(c)_*.c))))),$(TESTS_unit))
test-vectors: $(CODEC_TESTS)
	@$(RUN) $(foreach t,$(CODEC_TESTS),'$(call suite_name,$(t))|$(t)')
test-transport: $(TESTS_transport)
	@$(RUN) $(call suites,transport)
test-sim: $(TESTS_sim)
	@$(RUN) $(call suites,sim)
test-fault: $(TESTS_fault)
	@$(RUN) $(call suites,fault)
test-tls: $(TESTS_tls)
	@$(RUN) $(call suites,tls)
test-e2e: $(TESTS_e2e) sandboxd
	@$(RUN) $(E2E_SUITES)
test-matrix: sandbox.h
	@$(RUN) $(MATRIX)
test-build:
	@$(RUN) $(BUILD_SUITES)
check-symbols: sandbox.h
	@$(RUN) $(SYMBOLS)
fuzz-smoke: $(FUZZ_BINARIES)
	@$(RUN) $(call fuzz_suites,$(FUZZ_SECONDS),-seed=1)
fuzz: $(FUZZ_BINARIES)
	@$(RUN) $(call fuzz_suites,$(FUZZ_LONG_SECONDS))

# The committed sandbox.h is compared before anything renews it. What cannot be
# built fails the suite "build" and then its own, and the others still run.
build-tests: $(BUILT) $(FUZZ_BINARIES) $(COUNT_BINARIES) $(EXAMPLES) sandboxd
test:
	@rm -rf $(BUILD)/logs
	@$(RUN) 'amalgam|python3 amalgamate.py --check' \
	    --then 'build@1800|$(SUBMAKE) -k -j$(JOBS) --no-print-directory build-tests' \
	    --then $(MATRIX) $(SYMBOLS) $(BUILD_SUITES) $(call suites,unit) $(call suites,transport) $(call suites,sim) $(call suites,fault) $(call suites,tls) \
	    $(E2E_SUITES) $(VALGRIND_SUITES) $(OFFICIAL_SUITES) $(REPORTS) $(call fuzz_suites,$(FUZZ_SECONDS),-seed=1)

# --------------------------------------------------------------------- figures

count: $(COUNT_BINARIES)
	@python3 tests/count/run.py
count-check: $(COUNT_BINARIES)
	@python3 tests/count/run.py --check
size: sandbox.h
	@python3 tests/size/size.py
	@python3 tests/size/tls.py

BENCHES = $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/bench_*.c))
$(BUILD)/bench/%: bench/%.c $(EXAMPLE_USES) $(wildcard bench/*.h)
	$(call say,CC,$@)mkdir -p $(@D) && $(GCC) -std=gnu11 -O2 -g -Wall -Wextra -I. -Itransports -o $@ $< $(LIBS_$*) -pthread
bench: $(BENCHES) sandboxd
	@for b in $(BENCHES); do echo "== $$b"; $(WITH_SANDBOXD) $$b || exit; done

valgrind: $(EXAMPLES) sandboxd
	@$(RUN) $(VALGRIND_SUITES)

# ------------------------------------------------------------------------ rest

INSTALL = apt-get install -y --no-install-recommends
# Node: only where there is none; others' packages of it bring an npm of their own.
deps: PACKAGES = $(sort $(DEMO_DEPS) $(DEPS) $(shell command -v npm >/dev/null || echo nodejs npm))
deps-demo: PACKAGES = $(sort $(DEMO_DEPS))
deps deps-demo:
	@command -v dpkg-query >/dev/null || { echo 'Not a Debian system. Needed are the equivalents of: $(PACKAGES)'; exit 0; }; \
	there=$$(dpkg-query -W -f='$${db:Status-Status} $${Package}\n' $(PACKAGES) 2>/dev/null | sed -n 's/^installed //p'); \
	missing=$$(printf '%s\n' $(PACKAGES) | grep -vxF "$$there" | tr '\n' ' '); \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as=sudo; \
	else echo "Missing packages. Run: sudo $(INSTALL) $$missing" >&2; exit 1; fi; \
	echo "installing $$missing"; export DEBIAN_FRONTEND=noninteractive; \
	$$as $(INSTALL) $$missing >/dev/null 2>&1 || { $$as apt-get update -q && $$as $(INSTALL) $$missing; }

# The packages first: a sub-make sees what they brought.
demo: deps-demo
	@$(SUBMAKE) --no-print-directory $(BUILD)/sandboxd $(BUILD)/quickstart
	@$(WITH_SANDBOXD) $(BUILD)/quickstart

# The same over https, by a CA made on the spot.
demo-tls: deps
	@$(SUBMAKE) --no-print-directory $(BUILD)/sandboxd $(TLS_EXAMPLES)
	@for e in $(TLS_EXAMPLES); do echo "== $$e"; $(WITH_SANDBOXD) --tls $$e || exit; done

clean:
	rm -rf $(BUILD)

$(BUILD)/:
	@mkdir -p $@

-include $(wildcard $(BUILD)/*/src/*.d $(BUILD)/*/tests/*/*.d)
