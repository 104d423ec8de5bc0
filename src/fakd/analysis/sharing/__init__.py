"""`fakd share`: a finished run as a folder to give away: weights, architecture, and a card that says what they are."""

from fakd.analysis.sharing.command import ShareConfig, share

__all__ = ["ShareConfig", "share"]
