# BearSSL: the Debian package libbearssl-dev; the other end: libssl-dev. A pin is
# reckoned by the openssl command; make size compiles roots of ca-certificates in.
DEPS += openssl ca-certificates
LIBS_test_bearssl = -lbearssl
LIBS_test_bearssl_tcp = -lbearssl -lssl -lcrypto
