"""The Node's stack under Windows: the same desired state, as PowerShell's network cmdlets make it."""
