"""`unires demo`: the page in the browser."""
