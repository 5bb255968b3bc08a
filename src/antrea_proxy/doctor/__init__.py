"""What breaks Service traffic on a Node, found from facts, and how to mend it. Pure.

Each check is a function from the facts to findings. Others gather the facts (host, the command line) and show what was
found; nothing here looks at a machine.
"""
