"""All outputs of a curation, written from one computation of its outcomes."""

from auralith.curation.outcomes import outcomes
from auralith.curation.publish.attribution import write_attribution
from auralith.curation.publish.card import write_card
from auralith.curation.publish.croissant import write_croissant
from auralith.curation.publish.funnel import Funnels
from auralith.curation.publish.funnel_files import write_funnel
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store


def write_outputs(store: Store, settings: CurationSettings) -> Funnels:
    """Write funnel, manifest, attribution, Croissant file and card into the curation's folder; return the funnel.

    Raises:
        ResourceError: a file can't be written.
    """
    found = outcomes(store, settings)
    counted = write_funnel(store, settings, found)
    write_manifest(store, settings, found)
    write_attribution(store.folder, settings.publish)
    write_croissant(store, settings.publish)
    write_card(store, settings, counted)
    return counted
