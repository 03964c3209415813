# BearSSL: the Debian package libbearssl-dev; the other end: libssl-dev.
LIBS_test_bearssl = -lbearssl
LIBS_test_bearssl_tcp = -lbearssl -lssl -lcrypto
