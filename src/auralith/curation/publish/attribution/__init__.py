"""The attribution page: who made what a model was trained on, under which license, and where it is.

entries   what is said of each recording      catalog   all of them, in the order of the page
listing   in lists of pages                   pages     as HTML, from templates/
tables    as CSV and JSON lines               search    the index that a browser searches without a server
site      all of it, written as one folder    verify    compare a folder with its manifest
"""

from auralith.curation.publish.attribution.site import write_attribution
from auralith.curation.publish.attribution.verify import verify_attribution

__all__ = ["verify_attribution", "write_attribution"]
