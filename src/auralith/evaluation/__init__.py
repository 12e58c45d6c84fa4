"""Evaluation of generated sounds: the metrics of arXiv 2407.14358, and whether a sound does what its prompt says.

prompts     lists of prompts with ids, and the paper's subsets
sounds      sounds by id, held against a list
generation  sounds of a model for a list
reference   recordings, or published statistics of them
embedding   embeddings of files, kept so that nothing is embedded twice
measures    metrics by name: Fréchet distance, KL divergence, CLAP score ...
codec       an autoencoder's distances from its own input
comparison  systems × metrics, with intervals of their differences
settings    all that an evaluation can be told
run         an evaluation from its settings to its report
report      JSON, Markdown and a page
"""

from auralith.evaluation.run import evaluate
from auralith.evaluation.settings import EvaluationSettings

__all__ = ["EvaluationSettings", "evaluate"]
