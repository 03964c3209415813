# test_examples runs them.
test-e2e: examples

LIBS_e2e = -lcurl $(if $(wildcard transports/sandbox_bearssl.h),-lbearssl)

# Over TLS each transport takes one variant, for time's sake. Hostile peers speak
# plain TCP, and the examples choose their own transport: these over POSIX only.
E2E_PLAIN = test_hostile test_hostile_ws test_examples
e2e_tls = $(if $(wildcard transports/sandbox_$(1).h),$(foreach t,$(filter-out $(addprefix %/,$(E2E_PLAIN)),$(filter $(BUILD)/$(2)/%,$(TESTS_e2e))),'$(call suite_name,$(t)) $(1)|E2E_TRANSPORT=$(1) $(WITH_SANDBOXD) --tls $(t)'))
E2E_SUITES += $(call e2e_tls,curl,clang-1) $(call e2e_tls,bearssl,gcc-0)
