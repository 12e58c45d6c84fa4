"""People decide: a queue of suspects, two independent decisions on each, a third on conflict, and a log that only grows.

    suspects    recordings that people have to judge, from the evidence
    rules       valid decisions, and when an item is settled
    log         review.sqlite, append-only
    chain       the log's hash chain, which detects changes
    withdrawal  recordings that are removed on request
    queue       items for a reviewer, their outcomes, and Cohen's kappa
    exchange    items to CSV and Label Studio, decisions back; formats reads and writes the files

Everything here takes plain values, so that the command line and a web page call the same functions.
"""

from auralith.curation.review.exchange import (
    ExportOptions,
    ImportReport,
    export_items,
    import_decisions,
)
from auralith.curation.review.log import Item, is_begun, log_path
from auralith.curation.review.queue import (
    Agreement,
    Case,
    ItemView,
    NewDecision,
    RecordedDecision,
    agreement,
    agreement_of,
    cases,
    decide,
    decide_many,
    next_item,
    open_items,
    view_item,
)
from auralith.curation.review.rules import CHOICES, CODES, Decision
from auralith.curation.review.suspects import Suspect, suspects
from auralith.curation.review.withdrawal import (
    Selection,
    check_head,
    newest_entry,
    withdraw,
    withdrawals,
)

__all__ = [
    "CHOICES",
    "CODES",
    "Agreement",
    "Case",
    "Decision",
    "ExportOptions",
    "ImportReport",
    "Item",
    "ItemView",
    "NewDecision",
    "RecordedDecision",
    "Selection",
    "Suspect",
    "agreement",
    "agreement_of",
    "cases",
    "check_head",
    "decide",
    "decide_many",
    "export_items",
    "import_decisions",
    "is_begun",
    "log_path",
    "newest_entry",
    "next_item",
    "open_items",
    "suspects",
    "view_item",
    "withdraw",
    "withdrawals",
]
