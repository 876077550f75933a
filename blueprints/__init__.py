"""The doors: HTTP in, one call, HTTP out. Each is registered in app.py beside its guard."""
