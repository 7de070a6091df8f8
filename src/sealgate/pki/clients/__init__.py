"""Client certificates from the private authority: asked for, issued, handed out, revoked.

Theory: an *application* says which names a certificate shall carry and for which key; the *office* judges it,
signs, and puts the certificate into the store; only then is it handed out. A private key is made by whoever
asks and never travels: the keeper, which alone may sign, sees public keys. See docs/design/clients.md.
"""
