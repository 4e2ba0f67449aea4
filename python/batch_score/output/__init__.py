"""The output layer: what `run()` returned becomes counted, aligned, keyed and encoded records."""
