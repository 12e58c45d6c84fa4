"""Jobs: orders that are kept in a database until a process of some device has made their sounds.

`orders` reads what is asked for, `store` keeps it, `lanes` gives it to a `worker` process on each device. The server and
sets of prompts stand on it.
"""
