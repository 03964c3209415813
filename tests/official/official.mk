# The official JavaScript client against sandboxd. Included by the top Makefile.
# Needs npm and Node 20 or newer, which npm brings where the system's is older
# (Debian 12 has 18); everything is installed below $(BUILD).

OFFICIAL_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OFFICIAL_OUT := $(BUILD)/official
OFFICIAL_NODE_OK = node -e 'process.exit(parseInt(process.versions.node) < 20)' 2>/dev/null
OFFICIAL_NODE = PATH=$(abspath $(OFFICIAL_OUT))/node20/node_modules/.bin:$$PATH SANDBOXD=$(abspath $(BUILD)/sandboxd) SANDBOXD_TOOLS=$(abspath examples/sandboxd/tools)
# Again over https; isolation has nothing to do with it.
OFFICIAL_WIRE = boxes files run wire sse services tunnel links registries ssh
OFFICIAL_TLS = $(abspath $(OFFICIAL_OUT))/tls

.PHONY: test-official

$(OFFICIAL_OUT)/node_modules/.ready: $(OFFICIAL_DIR)/package.json $(OFFICIAL_DIR)/package-lock.json
	mkdir -p $(OFFICIAL_OUT)
	cp $(OFFICIAL_DIR)/package.json $(OFFICIAL_DIR)/package-lock.json $(OFFICIAL_OUT)/
	cd $(OFFICIAL_OUT) && npm ci --no-audit --no-fund --ignore-scripts
	$(OFFICIAL_NODE_OK) || npm install --prefix $(OFFICIAL_OUT)/node20 --no-audit --no-fund node@20
	touch $@

test-official: $(BUILD)/sandboxd $(OFFICIAL_OUT)/node_modules/.ready
	rm -f $(OFFICIAL_OUT)/*.mjs $(OFFICIAL_OUT)/*.py
	cp $(OFFICIAL_DIR)/*.mjs $(OFFICIAL_DIR)/*.py $(OFFICIAL_OUT)/
	rm -rf $(OFFICIAL_OUT)/coverage
	NODE_V8_COVERAGE=$(abspath $(OFFICIAL_OUT))/coverage $(OFFICIAL_NODE) node --test $(OFFICIAL_OUT)/
	$(OFFICIAL_NODE) node $(OFFICIAL_OUT)/surface.mjs $(abspath $(OFFICIAL_OUT))/coverage
	python3 tests/tls/certs.py $(OFFICIAL_TLS)
	SANDBOXD_CERT=$(OFFICIAL_TLS)/right.pem SANDBOXD_KEY=$(OFFICIAL_TLS)/right.key NODE_EXTRA_CA_CERTS=$(OFFICIAL_TLS)/ca.pem \
	    $(OFFICIAL_NODE) node --test $(foreach f,$(OFFICIAL_WIRE),$(OFFICIAL_OUT)/$(f).test.mjs)
