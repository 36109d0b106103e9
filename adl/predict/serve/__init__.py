"""A web page, and the JSON endpoint behind it, that segment the photographs which people bring."""
