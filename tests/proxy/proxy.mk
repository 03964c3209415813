# Proxies between a client and sandboxd. Included by the top Makefile.
DEPS += tinyproxy-bin microsocks
PROXY_SUITES = $(call suites,proxy,$(WITH_SANDBOXD))
E2E_SUITES += $(PROXY_SUITES)

.PHONY: test-proxy
test-proxy: $(TESTS_proxy) sandboxd
	@$(RUN) $(PROXY_SUITES)
test-e2e: $(TESTS_proxy)
