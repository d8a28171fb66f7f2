"""The store on disk: manifests, blobs, and what may be removed from them."""
