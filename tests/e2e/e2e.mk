# test_examples runs them, those with a transport or sockets of their own also with sanitizers.
E2E_EXAMPLES = $(EXAMPLES) $(BUILD)/asan/transport_uart $(BUILD)/asan/event_loop_uv
test-e2e build-tests: $(E2E_EXAMPLES) $(TLS_EXAMPLES)

LIBS_e2e = -lcurl -lbearssl -lssl -lcrypto

# Over TLS each transport takes one variant, for time's sake. The examples choose
# their own transport, and frames are written by hand: over POSIX only.
E2E_PLAIN = test_examples test_tunnel_frames
e2e_tls = $(foreach t,$(filter-out $(addprefix %/,$(E2E_PLAIN)),$(filter $(BUILD)/$(2)/%,$(TESTS_e2e))),'$(call suite_name,$(t)) $(1)|E2E_TRANSPORT=$(1) $(WITH_SANDBOXD) --tls $(t)')
E2E_SUITES += $(foreach e,$(TLS_EXAMPLES),'examples/$(notdir $(e))|$(WITH_SANDBOXD) --tls $(e)')
E2E_SUITES += $(call e2e_tls,curl,clang-1) $(call e2e_tls,bearssl,gcc-0)
