"""Traces, metrics and logs for whoever collects them; nothing at all where nobody asked for it.

What is sent is what the run directory has anyway: it is lost without harm, and nothing waits for it.
"""
