"""A workspace of Azure ML on 127.0.0.1: the requests of this package's client and of azure-ai-ml, executed for real.

`server` opens it. Everything is served over TLS with a certificate authority of its own, and only to clients that know
its random credential. Requests that neither client makes are refused by name.
"""
