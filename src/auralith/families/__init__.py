"""The published families of models, each described in a folder of its own.

A family says what its models are made of: which autoencoder, which transformer, which conditions. For each kind of
network one file holds the config as `model_config.json` writes it, the network, and the names of its tensors in every
layout. The rest of the library asks a family (`registry`) and never which one it is. A new family is a new folder and
a line in the registry.
"""
