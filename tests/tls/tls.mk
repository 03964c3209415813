# TLS transports beside servers right and wrong. Debian packages: libssl-dev
# (the servers), python3-cryptography (the certificates), and the libraries.
LIBS_tls = -lbearssl -lssl -lcrypto
LIBS_test_conformance_curl = -lcurl
# libcurl over GnuTLS, which Debian has beside the other.
DEPS += libcurl3-gnutls
LIBS_test_curl_gnutls = -l:libcurl-gnutls.so.4
