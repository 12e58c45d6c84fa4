"""Serving over HTTP: the API and the page of `auralith.jobs`.

`app` has the routes, `service` what they ask, `guard` who may ask; `run` binds and serves. The page in `studio` uses
nothing but the API.
"""
