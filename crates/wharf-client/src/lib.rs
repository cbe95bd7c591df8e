//! Typed Engine API client.
