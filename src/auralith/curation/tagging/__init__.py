"""Music tagging: how many seconds of a recording are music, for every threshold at once.

tagger      the protocol: a window of sound in, probabilities of AudioSet's 527 classes out, frame by frame
panns       Cnn14_DecisionLevelMax (frontend: its fixed part; weights: its published file); 100 frames a second
ast         a second tagger, through transformers; one frame for 10.24 s
classes     which of the 527 classes are music
windows     a file as windows of a tagger; meter: probabilities → seconds
stage       the step; calibration: the largest threshold that misses none of known music
"""
