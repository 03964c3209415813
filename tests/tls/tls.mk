# TLS transports beside servers right and wrong. Debian packages: libssl-dev
# (the servers), python3-cryptography (the certificates), and the libraries.
LIBS_tls = -lbearssl -lssl -lcrypto
LIBS_test_conformance_curl = -lcurl
