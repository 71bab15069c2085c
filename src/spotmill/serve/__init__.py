"""The live view: a finished or running production in the browser, read-only."""
