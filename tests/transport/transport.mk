LIBS_test_curl = -lcurl
