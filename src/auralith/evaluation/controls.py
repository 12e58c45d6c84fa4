"""Checks of a system's sounds against what their prompts state, sound by sound and as rates by control."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from auralith.controls.check import ControlResult, check
from auralith.controls.summary import ControlRate, summary
from auralith.errors import AudioError
from auralith.evaluation.measures import Generated
from auralith.sound.reading import read


@dataclass(frozen=True)
class ControlReport:
    """The results of a system's sounds by id, and why others could not be read."""

    results: Mapping[str, tuple[ControlResult, ...]]
    failed: Mapping[str, str]

    @property
    def rates(self) -> dict[str, ControlRate]:
        """Return how often each control is met, over all sounds."""
        return summary(result for results in self.results.values() for result in results)

    def as_json(self) -> dict[str, Any]:
        """Return rates with their intervals, all results by id, and the failures."""
        rates = {
            name: asdict(one) | {"rate": one.rate, "interval": one.interval}
            for name, one in self.rates.items()
        }
        by_id = {id: [asdict(one) for one in results] for id, results in self.results.items()}
        return {"rates": rates, "by_id": by_id, "failed": dict(self.failed)}


def check_sounds(generated: Generated, on_file: Callable[[int], None]) -> ControlReport:
    """Check each sound against its prompt, and against the length that was asked for where it is known."""
    found: dict[str, tuple[ControlResult, ...]] = {}
    failed = dict(generated.sounds.missing)
    for done, (id, path) in enumerate(generated.sounds.paths.items(), 1):
        try:
            waveform, sample_rate = read(path)
            text, seconds = generated.texts.get(id, ""), generated.seconds.get(id)
            found[id] = tuple(check(text, waveform, sample_rate, seconds=seconds))
        except AudioError as error:
            failed[id] = f"{error.reason_code}: {error}"
        on_file(done)
    return ControlReport(found, failed)
