"""Curation: recordings with their metadata in, a licensed, checked and attributed training set out.

sources/       data packs, APIs, tables and folders → `recordings`
stage, steps   the contract of a step; the steps under given settings, and a module or package for each of them:
               licenses (with preferences) · probe · duplicates · tagging/ · identification/ · metadata/ · guard
engine, store  run a step over a table, on one machine or a Ray cluster, resumable; keep the tables
keys           which evidence counts
outcomes       the outcome of each recording, folded from all evidence and decisions
review/        decisions by people, append-only
publish/       manifest, funnel, attribution, Croissant file and card
run            all of it by one call
"""

from auralith.extras import require

require("pyarrow", "curate")  # every module of curation works with tables
