"""One module a stage: parse, read, call, write."""
