"""What a workspace says: requests, tokens, blobs, and runs that are followed."""
