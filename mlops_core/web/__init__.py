"""``mlops ui``: a local web application over one workspace. `docs/ui.md` describes it.

* `server`: options, the socket, signals; `application`: the paths; `access`: which requests are answered.
* `opened`: the workspace of the application, opened once per request; `answers`: requests and answers as data.
* `shell`: the document around every page; `live`: what changes while a page is shown.
* `pages`: the pages, each a function from a request to an answer; `actions`: what a form changes.
* `index`: what runs are searched by.
* `plugin_work`: everything that needs a plugin's code, in a process of its own.

Pages are complete without the script, which only brings them up to date. Text from runs, plugins and files becomes
part of a page through `mlops_core.report.kit`, which escapes it, and no page may run a script that is not a file of
this application.
"""
