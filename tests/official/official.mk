# The official JavaScript client against sandboxd. Included by the top Makefile.
# Needs Node 20 or newer and npm; everything is installed below $(BUILD).

OFFICIAL_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OFFICIAL_OUT := $(BUILD)/official

.PHONY: test-official

$(OFFICIAL_OUT)/node_modules/.ready: $(OFFICIAL_DIR)/package.json $(OFFICIAL_DIR)/package-lock.json
	mkdir -p $(OFFICIAL_OUT)
	cp $(OFFICIAL_DIR)/package.json $(OFFICIAL_DIR)/package-lock.json $(OFFICIAL_OUT)/
	cd $(OFFICIAL_OUT) && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

test-official: $(BUILD)/sandboxd $(OFFICIAL_OUT)/node_modules/.ready
	rm -f $(OFFICIAL_OUT)/*.mjs
	cp $(OFFICIAL_DIR)/*.mjs $(OFFICIAL_OUT)/
	SANDBOXD=$(abspath $(BUILD)/sandboxd) node --test $(OFFICIAL_OUT)/
