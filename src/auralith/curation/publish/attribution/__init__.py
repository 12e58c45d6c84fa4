"""The attribution page: author, title, source and license of every recording that a model was trained on.

entries  the statement about one recording     catalog  all recordings, in the order of the page
tables   CSV files and JSON lines              search   the index that a browser searches without a server
site     pages and everything else, written as one folder
verify   a comparison of a written folder with its manifest
"""

from auralith.curation.publish.attribution.site import verify_attribution, write_attribution

__all__ = ["verify_attribution", "write_attribution"]
