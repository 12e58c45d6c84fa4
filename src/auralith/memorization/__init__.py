"""Memorization: whether generated sounds repeat training sounds, with probabilities under a null of held-out recordings.

store         embeddings of recordings on disk, resumable
search        the nearest rows of a store by cosine, exactly, in blocks
mel           correlation of log-mel spectrograms over all lags: a detector of copies without weights
significance  p-values under a null, and the false discovery rate
duplicates    groups of recordings that are one sound, confirmed by more than an embedding
training      the training sounds: embedded, indexed by landmarks, their duplicates found
measure       what each sound has in common with them
report        verdicts on a set of sounds, and those most in need of ears
attribution   the nearest training sounds of one sound
"""
