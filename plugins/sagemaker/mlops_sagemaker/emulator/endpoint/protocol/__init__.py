"""The protocol of the service: its model, the validation of requests, lists with pages, and errors."""
