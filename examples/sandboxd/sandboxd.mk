# sandboxd, the local server. Included by the top Makefile; uses BUILD and CC.
# Debian packages: libmicrohttpd-dev libwslay-dev libjansson-dev bubblewrap,
# and haproxy for --tls-cert.

SANDBOXD_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
SANDBOXD_SRC := $(wildcard $(SANDBOXD_DIR)/*.c)
SANDBOXD_OBJ := $(patsubst $(SANDBOXD_DIR)/%.c,$(BUILD)/sandboxd.o/%.o,$(SANDBOXD_SRC))
SANDBOXD_CFLAGS ?= -O2 -g
SANDBOXD_WARN := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror
SANDBOXD_LIBS := -lmicrohttpd -lwslay -ljansson

$(BUILD)/sandboxd.o:
	mkdir -p $@

$(BUILD)/sandboxd.o/%.o: $(SANDBOXD_DIR)/%.c | $(BUILD)/sandboxd.o
	$(CC) $(SANDBOXD_WARN) $(SANDBOXD_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/sandboxd: $(SANDBOXD_OBJ)
	$(CC) $(SANDBOXD_CFLAGS) $(LDFLAGS) -o $@ $(SANDBOXD_OBJ) $(SANDBOXD_LIBS)

-include $(SANDBOXD_OBJ:.o=.d)
