"""Keys, profiles and files of authorised clients."""
