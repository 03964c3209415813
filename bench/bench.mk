# bench_tls: BearSSL, and OpenSSL at the other end.
LIBS_bench_tls = -lbearssl -lssl -lcrypto
