"""Metrics of generated sound: functions over arrays and ids, whose results are frozen dataclasses for JSON.

codec       distances of a decoded sound from its original
gaussian    count, mean and scatter of frames, in one pass
frechet     Fréchet distance of two sets of frames, and its limit for infinitely many
kernel      kernel audio distance, less biased where frames are few
divergence  KL divergence of class probabilities, beside trivial baselines
alignment   cosine of audio and text embeddings
values      values by id with their mean, failures and bootstrap intervals
protocol    what decides a value, as a hash; values of other protocols are not compared
references  published reference statistics and probabilities, read without running anything
"""
