"""Curation: recordings with their metadata in, a licensed, checked and attributed training set out.

sources/     what there is: data packs, APIs, tables, folders → `recordings`
stage        the contract of a step: rows in, a verdict with its reason for each
steps        licenses · preference · probe · near_duplicates · tagging · identification · metadata · guard
engine       runs a step over a table, on one machine or a Ray cluster, resumable; store keeps the tables
outcomes     what became of each recording, folded from all evidence and decisions
review       decisions by people, append-only
manifest · funnel · attribution · croissant · card   what comes out
"""

from auralith.extras import require

require("pyarrow", "curate")  # every module of curation works with tables
