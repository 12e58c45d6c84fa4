"""What training reads: recordings with captions, cached latents, and a procedural corpus."""
