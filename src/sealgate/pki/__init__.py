"""Keys, the private authorities, issuing, the store and the live directory. See docs/design/house.md."""
