# Proxies between a client and sandboxd. Included by the top Makefile.
DEPS += tinyproxy-bin microsocks
LIBS_proxy = -lbearssl
TESTS_proxy_tls = $(filter %/test_bearssl,$(TESTS_proxy))
TESTS_proxy_plain = $(filter-out %/test_bearssl,$(TESTS_proxy))
PROXY_SUITES = $(call suites,proxy_plain,$(WITH_SANDBOXD)) $(call suites,proxy_tls,$(WITH_SANDBOXD) --tls)
E2E_SUITES += $(PROXY_SUITES)

.PHONY: test-proxy
test-proxy: $(TESTS_proxy) sandboxd
	@$(RUN) $(PROXY_SUITES)
test-e2e: $(TESTS_proxy)
