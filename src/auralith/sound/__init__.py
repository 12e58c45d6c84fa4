"""Sounds in files: read, written, measured and drawn, in one place for generation, training and curation."""
