"""Music tagging: how many seconds of a recording are music, for every threshold at once.

meter    windows of a file, the classes that count as music, counts of active frames, and calibration of the threshold
panns    the network Cnn14_DecisionLevelMax and its published file of weights
musicnn  musicnn with a head of our own, whose weights any machine can fetch
taggers  networks as taggers: a window of sound in, probabilities of AudioSet's 527 classes out; trust in their files
stage    the step of the curation
"""
