"""What the cluster says: objects, their decoding, and the state that watch events build up.

Pure: does no I/O and imports no other room.
"""
