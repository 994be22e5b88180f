"""`unires serve`: a trained model over HTTP, for programs.

Requests meet `app`, whose words are `schema`'s and `problems`'; `intake` reads them,
`service` answers them, `batcher` puts those of one moment on the device together.
"""
