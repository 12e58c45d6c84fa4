"""The outputs of a curation, written from its outcomes: manifest, funnel, attribution, Croissant file and card."""
