"""The gallery of the report: frames chosen, their counts lossless, for a viewer in the page."""
