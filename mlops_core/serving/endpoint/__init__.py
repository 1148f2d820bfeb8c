"""The process of an endpoint on this machine: `mlops deploy --runner local` starts one for each endpoint.

* `process`: its start and end, and what it does next.
* `rollout`: the new server beside the old one: traffic moves in steps, alarms are watched, one of the two remains.
* `servers`: the servers as processes; `server`: such a process.
* `router`: answers at the endpoint's port, with one of the servers; `upstream`: how it calls them.
* `alarms`: what the answers of a new server say about it.
"""
