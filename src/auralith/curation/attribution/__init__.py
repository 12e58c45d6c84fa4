"""The attribution page: who made what a model was trained on, under which license, and where it is.

entries   what is said of each recording      tables   the same as CSV and JSONL
pages     as HTML                             search   the index that a browser searches without a server
site      all of it, written as one folder    verify   whether it says what the manifest says
"""

from auralith.curation.attribution.site import write_attribution
from auralith.curation.attribution.verify import verify_attribution

__all__ = ["verify_attribution", "write_attribution"]
