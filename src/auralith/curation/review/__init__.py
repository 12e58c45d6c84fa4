"""People decide: a queue of suspects, two independent decisions on each, a third on conflict, and a log that only grows.

    rules       valid decisions, when an item is settled, and Cohen's kappa
    log         review.sqlite, append-only
    chain       the log's hash chain, which detects changes
    queue       suspects from the evidence, items for a reviewer, and decisions
    withdrawal  recordings taken out on request
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
    Case,
    ItemView,
    NewDecision,
    RecordedDecision,
    Suspect,
    agreement,
    cases,
    check_head,
    decide,
    decide_many,
    newest_entry,
    next_item,
    open_items,
    own_decision,
    suspects,
    view_item,
)
from auralith.curation.review.rules import (
    CHOICES,
    CODES,
    Agreement,
    Decision,
    Outdated,
    agreement_of,
)
from auralith.curation.review.withdrawal import Selection, withdraw, withdrawals

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
    "Outdated",
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
    "own_decision",
    "suspects",
    "view_item",
    "withdraw",
    "withdrawals",
]
