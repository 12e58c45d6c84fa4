"""Evaluation of the embedded model: held-out prompts, and what judges that were trained elsewhere hear in its sounds.

cases       prompts of held-out wordings, values, presets and recordings, with the sound that each describes
measures    plain measures of one sound: cents, harmonics, levels at the ends, width, gaps
notes       notes that basic-pitch hears, by its network run in onnxruntime
neighbors   instrument and kit by the nearest neighbor among held-out sounds, in musicnn's embedding
judging     all of it for a set of sounds, as figures
"""
