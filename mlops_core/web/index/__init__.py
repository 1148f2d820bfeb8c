"""What runs are searched by: metrics, configuration values, data sets.

The table ``runs`` of a workspace has neither, and reading ten thousand folders for one page takes minutes. The index
is derived from the records: it may be removed at any time, and is kept in a file of its own, so that the version of
the workspace does not depend on it.

* `facts`: reads what is indexed about one run.
* `database`: the file, and bringing it up to date.
* `queries`: filters, sorts and pages.
"""
