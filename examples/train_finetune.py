"""The model card's fine-tuning: train_dataset.csv (path, prompt) and a pretrained model in, finetuned_model/ out.

    python examples/train_finetune.py [MODEL] [STEPS]

MODEL is a name on the Hub, a folder, or a model_config.json with its weights beside it; the embedded model without it.
Run it again after an interruption and it goes on where it stopped.
"""

import sys
from pathlib import Path

import auralith
from auralith.data.recordings import open_recordings
from auralith.training.finetune import FinetuneSettings, finetune
from auralith.training.task import LoopSettings

OUTPUT = Path("finetuned_model")


def main(model: str | None = None, steps: str = "1000") -> None:
    recordings = open_recordings("train_dataset.csv")
    settings = FinetuneSettings(loop=LoopSettings(steps=int(steps), ema_decay=0.99))
    base = auralith.load(model, dtype="float32")
    for event in finetune(base, recordings, OUTPUT, settings, "train_dataset.csv"):
        if event.progress is None:
            print(event.text or f"{event.stage} {event.done}/{event.total}")
        elif event.done % 10 == 0 or event.done == event.total:
            losses = ", ".join(f"{k} {v:.4f}" for k, v in event.progress.losses.items())
            print(f"step {event.done}/{event.total}: {losses}")
    prompt = recordings[0].prompt or ""
    auralith.load(OUTPUT).generate(auralith.GenerationRequest(prompt)).save("finetuned.wav")


if __name__ == "__main__":
    main(*sys.argv[1:])
