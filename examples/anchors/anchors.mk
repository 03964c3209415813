# Trust anchors compiled in, for the BearSSL transport. Included by the top Makefile.
examples: $(BUILD)/pem_to_c
$(BUILD)/pem_to_c: examples/anchors/pem_to_c.c $(EXAMPLE_USES) | $(BUILD)/
	$(call say,CC,$@)$(CC) -std=c99 -D_GNU_SOURCE -O2 -Wall -Wextra -I. -Itransports -o $@ $< -lbearssl
