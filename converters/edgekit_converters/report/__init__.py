"""`edgekit report`: one HTML page, complete in itself, that explains bundles and plans."""
