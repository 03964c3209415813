# TLS by each library, and OpenSSL at the other end.
LIBS_bench_tls_bearssl = -lbearssl -lssl -lcrypto
LIBS_bench_tls_curl = -lcurl -lssl -lcrypto
