"""How large the page of a large network is, how long it takes to make, to open and to move its slider."""
