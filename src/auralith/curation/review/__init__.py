"""People decide: a queue of suspects, two independent decisions on each, a third on conflict, and a log that only grows.

    rules       valid decisions, when an item is settled, and Cohen's kappa
    log         review.sqlite, append-only
    chain       the log's hash chain, which detects changes
    queue       suspects from the evidence, items for a reviewer, and decisions
    comparison  an item as suspect and matches: what is known of each, where they align, their files
    lists       what a page shows beside one item: lists for a reviewer, and progress
    withdrawal  recordings taken out on request
    exchange    items to CSV and Label Studio, decisions back; formats reads and writes the files

Everything here takes plain values, so that the command line and a web page call the same functions.
"""

from auralith.curation.review.comparison import Comparison, Match, Side, compared, sound_of
from auralith.curation.review.exchange import (
    ExportOptions,
    ImportReport,
    export_items,
    import_decisions,
)
from auralith.curation.review.lists import (
    Progress,
    Reviewer,
    View,
    progress,
    reviewers,
    seen_by,
    titles,
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
    suspects,
    view_item,
)
from auralith.curation.review.rules import (
    CHOICES,
    CODES,
    Agreement,
    Decision,
    Outdated,
    UnknownItem,
    agreement_of,
    reviewer_name,
)
from auralith.curation.review.withdrawal import Selection, withdraw, withdrawals

__all__ = [
    "CHOICES",
    "CODES",
    "Agreement",
    "Case",
    "Comparison",
    "Decision",
    "ExportOptions",
    "ImportReport",
    "Item",
    "ItemView",
    "Match",
    "NewDecision",
    "Outdated",
    "Progress",
    "RecordedDecision",
    "Reviewer",
    "Selection",
    "Side",
    "Suspect",
    "UnknownItem",
    "View",
    "agreement",
    "agreement_of",
    "cases",
    "check_head",
    "compared",
    "decide",
    "decide_many",
    "export_items",
    "import_decisions",
    "is_begun",
    "log_path",
    "newest_entry",
    "next_item",
    "open_items",
    "progress",
    "reviewer_name",
    "reviewers",
    "seen_by",
    "sound_of",
    "suspects",
    "titles",
    "view_item",
    "withdraw",
    "withdrawals",
]
