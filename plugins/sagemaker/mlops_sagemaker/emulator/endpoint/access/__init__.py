"""Who may use the endpoint: credentials, signatures, and the guard in front of all services."""
