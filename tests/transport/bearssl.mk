# BearSSL: the Debian package libbearssl-dev.
LIBS_test_bearssl = -lbearssl
