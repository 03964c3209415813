# The codecs and the tunnel beside an implementation that is not ours:
# hashicorp/yamux. Included by the top Makefile.
DEPS += golang-go golang-github-hashicorp-yamux-dev golang-github-gorilla-websocket-dev
INTEROP_PEER = $(BUILD)/interop/peer
INTEROP_GO = GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE=$(abspath $(BUILD))/interop/cache go
INTEROP_SUITES = $(call suites,interop,INTEROP_PEER=$(INTEROP_PEER))
INTEROP_SUITES += 'interop/sandboxd|$(WITH_SANDBOXD) $(INTEROP_PEER) sandboxd'
E2E_SUITES += $(INTEROP_SUITES)

$(INTEROP_PEER): $(wildcard tests/interop/*.go)
	$(call say,GO,$@)mkdir -p $(@D) && $(INTEROP_GO) build -o $@ $^

.PHONY: test-interop
test-interop: $(TESTS_interop) $(INTEROP_PEER) sandboxd
	@$(RUN) $(INTEROP_SUITES)
test-e2e build-tests: $(TESTS_interop) $(INTEROP_PEER)
LIBS_test_yamux = -lcrypto
