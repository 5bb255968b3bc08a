"""antrea-agent.conf and its feature gates: types, defaults, and validation that names every problem at once.

Pure: does no I/O beyond reading the text that it is given, and imports no other room.
"""
