"""How the endpoint speaks: TLS, requests and responses as data, errors, routes, and who may ask."""
