//! Selectors: which members of an inventory a text such as `tag=production and type=ct and not name=blog` takes.
