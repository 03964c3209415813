# test_examples runs them.
test-e2e: examples
