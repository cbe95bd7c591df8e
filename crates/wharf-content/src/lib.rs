//! Content-addressed blobs: resumable ingest, leases, garbage collection.
