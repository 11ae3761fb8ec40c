"""A service that answers pictures over HTTP: extra `jaxad[serve]`, command `jaxad serve`.

It knows `Predictor` alone: which method a model is of, it does not ask.
"""
