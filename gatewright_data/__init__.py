"""From inventory data to the contents of files: pure functions, shared by filters, actions and tests.

Every function here takes plain data as Ansible hands it over and either returns plain data or raises
`InventoryError` with all problems it found, each naming the variable, the entry and what is wrong.

It stands outside filter_plugins, for Ansible takes every file in there, and in folders of it, for a filter.
"""
