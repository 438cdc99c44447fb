"""`gw console`: a page on the administrator's own machine, for all gateways of an inventory.

It asks what `gw trace`, `quarantine`, `queue` and `status` ask, by the same functions and over the same SSH; nothing
listens on a gateway for it. Pages are made here and need no script: none is sent, and none would run.

    serve.py      the command: a socket on 127.0.0.1, and the address with its token
    access.py     who may ask: token, cookie, Host, CSRF; and the headers that keep a page from doing anything
    desk.py       asking gateways from many requests at once, within bounds
    pages.py      the pages; changes.py what they change
    overview.py   figures of all gateways together; charts.py their shapes; report.py them as one file
    preview.py    a held message that can do nothing
"""
