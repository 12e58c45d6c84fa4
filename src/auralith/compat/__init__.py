"""The model card's two usages under their own names: stable-audio-tools and diffusers."""
