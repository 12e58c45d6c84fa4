"""Data of training: recordings with captions, crops, prompts, and cached latents."""
