"""Serving over HTTP: accepted jobs outlive the process, and a job is made of its resolved request alone.

`jobs` keeps jobs, sounds and uploads in one folder with one database; `requests` reads what is asked for; `worker` makes
it, in a process for each device; `app` speaks HTTP. A job that was cut off is made again with the same seed, so its bytes
are the same.
"""
