"""Reports by mail to other domains, once a day: what a daemon has counted becomes a mail to whom a domain names in DNS.

The programs of several roles use it: each has this folder as a package of its own, by a link here and by a copy in its
Debian package. What is counted and what a report looks like, a program says itself; days, DNS records, the sending and
what was sent already are here.
"""
