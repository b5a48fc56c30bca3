"""What runs in the processes that are measured: one module a system, in its own environment.

Functions take and return what JSON can say. Modules of peers import nothing of exnihilo.
"""
