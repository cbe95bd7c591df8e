//! Engine API routes: wire to engine and back, API-version compatibility.
