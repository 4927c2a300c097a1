"""What can go wrong with one system while the others go on."""


class PeerError(Exception):
    """A system that cannot be measured; the text is the reason, in one line."""
