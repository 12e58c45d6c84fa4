"""Items of a step's batch that a rank holds."""

from auralith.errors import Field, InvalidRequest
from auralith.training.task import Share


def positions(share: Share, batch_size: int) -> range:
    """Positions of the share's items in the global batch, as many for every share: then the mean over the shares is the
    mean over the batch. What doesn't divide is left out.

    Raises:
        InvalidRequest: there are more shares than items.
    """
    size = batch_size // share.count
    if size == 0:
        raise InvalidRequest(
            f"a batch of {batch_size} can't be shared by {share.count} parts; raise ",
            *(Field("batch_size"), ", or lower ", Field("accumulate")),
            " or the number of processes",
        )
    return range(share.index, size * share.count, share.count)
